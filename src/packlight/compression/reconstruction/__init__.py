"""Rounding with calibration data: Hessians, GPTQ, sequential rounding, bias correction."""

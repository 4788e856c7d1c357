"""ONNX Runtime's fusions and kernels, as far as they decide speed and arithmetic."""

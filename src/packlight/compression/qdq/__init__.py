"""Integer arithmetic: where QuantizeLinear and DequantizeLinear go, and integer weights."""

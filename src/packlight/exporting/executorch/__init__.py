"""ExecuTorch's ``.pte``, through PyTorch and XNNPACK."""

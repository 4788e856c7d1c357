"""Export of PyTorch networks; the rest of packlight does not need PyTorch."""

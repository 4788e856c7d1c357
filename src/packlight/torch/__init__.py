"""What needs PyTorch, which packlight itself does not."""

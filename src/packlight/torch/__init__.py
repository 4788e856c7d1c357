"""What needs PyTorch: export of its networks, and ONNX models as modules."""

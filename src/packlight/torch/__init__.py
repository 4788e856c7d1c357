"""What needs PyTorch: export of its networks, and ONNX models as modules."""

from packlight.torch.interpreter import OnnxModule, to_module, unsupported_operators

__all__ = ["OnnxModule", "to_module", "unsupported_operators"]

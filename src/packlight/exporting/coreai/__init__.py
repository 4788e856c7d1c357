"""Core AI: Apple's format of 2026, written through coreai-onnx with lowerings of our own."""

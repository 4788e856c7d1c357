"""LiteRT: a flatbuffer written directly, with the encodings of its weights."""

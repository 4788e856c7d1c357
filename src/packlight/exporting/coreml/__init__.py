"""Core ML: a program of MIL written directly, with the encodings of its weights."""

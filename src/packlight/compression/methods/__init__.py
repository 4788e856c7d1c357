"""The compression methods, one module each, and their table."""

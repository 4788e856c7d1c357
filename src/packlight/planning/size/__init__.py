"""Predicted size of files, exact to the byte, and of downloads."""

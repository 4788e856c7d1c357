"""Evaluation of a Core ML package in NumPy, where Apple's runtime does not run."""

"""A width for every weight from its sensitivity."""

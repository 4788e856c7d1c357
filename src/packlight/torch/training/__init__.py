"""Training of compressed weights in the form in which they are stored."""

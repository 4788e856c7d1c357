"""Training of compressed models against what they were made from, in the form they are stored."""

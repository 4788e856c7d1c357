"""The verbs as people call them: a module for each."""

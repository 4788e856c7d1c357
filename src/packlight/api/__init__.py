"""Public verbs, a module for each."""

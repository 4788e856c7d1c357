"""Models, tasks and devices that a user names."""

"""Sites: stored weights that methods can change."""

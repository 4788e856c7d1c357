"""Child processes with limits, which open what is not trusted."""

"""Child processes with limits, which open files that are not trusted."""

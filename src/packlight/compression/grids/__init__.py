"""Grids and codebooks: granularity, range, and the nearest point."""

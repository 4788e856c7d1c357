"""Scales of channels moved between operators without changing what the model computes."""

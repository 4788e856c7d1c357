"""Channels that can only be removed together, and what becomes of a graph without them."""

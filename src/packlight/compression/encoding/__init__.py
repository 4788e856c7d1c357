"""Storage of compressed weights in the graph: codes, scales, masks, and what expands them."""

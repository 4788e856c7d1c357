"""Search of ``fit``: measure variants, choose one, explain it."""

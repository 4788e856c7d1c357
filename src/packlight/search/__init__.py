"""The search behind ``fit``: measure variants, choose, explain."""

"""Exported models: a neutral form, a writer for each format, parity and bundles."""

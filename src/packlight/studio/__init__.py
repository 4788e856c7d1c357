"""The studio: pages in a browser, from the same records as the command line."""

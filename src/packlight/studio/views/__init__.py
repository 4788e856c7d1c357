"""From records to the content of pages: a module for each page, all of them pure."""

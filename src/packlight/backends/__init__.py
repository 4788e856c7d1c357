"""Rules of each runtime: what it fuses, computes in integers and keeps small, as data."""

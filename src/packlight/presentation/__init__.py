"""Numbers, verdicts and sentences that the terminal, the report and notebooks share."""

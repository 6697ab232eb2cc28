"""The running example: find suppliers, work out duties, ask a person, write to the manufacturer."""

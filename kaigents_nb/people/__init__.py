"""People over all runs: what waits for them, and what they decided."""

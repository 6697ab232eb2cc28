"""The embedded server: one Temporal server for each data directory, started and found by every kernel."""

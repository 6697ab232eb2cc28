"""The handle of a run: prepare, start, ask, mend, fork, compare and end it."""

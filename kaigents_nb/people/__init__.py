"""People: which gates are open over all runs, how a decision is taken, and who decided what."""

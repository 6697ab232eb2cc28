"""Seeded chaos over real runs, and what became of the promises: ``python -m tests.soak --seed N --minutes M``."""

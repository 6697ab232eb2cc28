"""How fast the library is, beside the raw SDK on the same server: ``python -m tests.benchmarks``."""

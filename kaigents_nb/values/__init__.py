"""How a Python value becomes bytes in a history, and the same value again."""

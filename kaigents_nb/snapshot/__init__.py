"""The code of a run: found over all cells, frozen as a readable module, signed, and loaded again."""

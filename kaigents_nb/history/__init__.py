"""One run: its handle, its state, its history as DataFrames, and looking back."""

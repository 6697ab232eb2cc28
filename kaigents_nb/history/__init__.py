"""What a run's history says: folded into its state, followed, decoded, and laid out as DataFrames."""

"""Ask a model, durably: what was answered is recorded, and never asked again."""

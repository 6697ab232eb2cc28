"""The running example, and the command that shows it: suppliers, duties, a person, a letter."""

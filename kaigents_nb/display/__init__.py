"""What a person sees: the run's card, its gate form, the inbox, and their static forms."""

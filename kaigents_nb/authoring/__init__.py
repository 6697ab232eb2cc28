"""What a cell writes: steps, agents, gates, clocks. Imported, it takes the standard library only."""

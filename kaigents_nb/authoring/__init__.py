"""What a cell writes: steps, agents, gates, clocks. Standard library only."""

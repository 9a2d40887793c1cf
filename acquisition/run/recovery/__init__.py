"""What can be saved of a run whose writer died, or whose log is damaged."""

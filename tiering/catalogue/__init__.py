"""The catalogue: in which tiers the copies of each run lie, and which moves are under way."""

"""What was read from other tiers, kept near for the next time."""

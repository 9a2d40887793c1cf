"""From the ring to the run: several blocks are written at a time and committed in their order."""

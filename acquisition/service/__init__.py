"""The acquisition service: from a source through the ring to the run."""

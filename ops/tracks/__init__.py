"""Particles of one frame that are those of the next, and how they move."""

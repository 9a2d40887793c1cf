"""Regions of frames: which pixels belong together, and what they are like."""

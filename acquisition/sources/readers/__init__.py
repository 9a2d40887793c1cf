"""Readers of recorded frames, one file for each family of formats."""

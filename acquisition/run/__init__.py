"""A run: its one writer and its many readers."""

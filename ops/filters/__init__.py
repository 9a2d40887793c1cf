"""Keeping the lengths that matter and dropping the others."""

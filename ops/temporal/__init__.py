"""Filtering each pixel's history."""

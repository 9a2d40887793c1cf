"""Homes: the places that runs were recorded in, and results made in, in folders and in buckets."""

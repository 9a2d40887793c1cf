"""Tiers, and the copies of runs that lie in them."""

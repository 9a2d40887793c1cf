"""Keeping a cluster at its size: jobs of a batch system that carry workers."""

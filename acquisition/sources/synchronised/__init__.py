"""Cameras on one trigger: their queues, their threads, and the source that they make."""

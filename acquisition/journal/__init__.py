"""Frames in files, in order: a journal that outlives its writer, and a queue that spills to disk."""

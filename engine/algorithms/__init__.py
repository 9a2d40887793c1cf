"""Algorithms that come with forebay."""

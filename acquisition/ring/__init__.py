"""The ring of frames between whoever receives and whoever records."""

"""Changes of the catalogue's tables, one after the other."""

"""Where a run is written: what a writer asks of a storage, and the storages that do it."""

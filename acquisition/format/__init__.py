"""The run format, as it lies on the storage (docs/reference/run-format.md)."""

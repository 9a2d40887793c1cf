"""Results: parts on the storage, and reading them back as one."""

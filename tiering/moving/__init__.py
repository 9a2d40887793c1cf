"""Moving runs: copy, read back, publish, wait for readers, delete; each step can be repeated."""

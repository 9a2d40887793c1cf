"""What `benchmarks.engine` measures of the engine alone, one thing a module."""

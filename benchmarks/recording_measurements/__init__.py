"""What `benchmarks.acquisition` measures, one thing a module."""

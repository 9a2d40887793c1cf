"""What operations are measured beside: Dask with SciPy as one would write it, and dask-image."""

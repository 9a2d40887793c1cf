"""Carrying out jobs: on this machine or on a Dask cluster, live or in batch."""

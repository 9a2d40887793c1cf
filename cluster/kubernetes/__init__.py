"""Workers in pods of Kubernetes, made by the Dask operator."""

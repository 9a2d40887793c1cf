"""A worker for each GPU of this machine."""

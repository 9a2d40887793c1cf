"""What the optics spread out, put back together."""

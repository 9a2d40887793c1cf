"""What stands out of its surroundings: thresholds, maxima, blobs, and known shapes in noise."""

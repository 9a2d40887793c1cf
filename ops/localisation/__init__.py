"""Where spots are, to a small part of a pixel, from positions to the nearest pixel."""

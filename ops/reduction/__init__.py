"""Making frames smaller by a stated loss: fewer pixels, fewer bits, fewer frames."""

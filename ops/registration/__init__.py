"""Where frames lie beside each other, and bringing them into one place."""

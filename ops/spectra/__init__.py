"""How much of each frequency the frames hold."""

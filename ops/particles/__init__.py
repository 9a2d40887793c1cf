"""From frames to tables of particles, and from two tables to the pairs in them."""

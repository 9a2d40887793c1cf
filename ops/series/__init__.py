"""Time series: what is sampled at a steady rate along one dimension."""

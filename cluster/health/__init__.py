"""Whether workers are fit for work, and keeping work from those that are not."""

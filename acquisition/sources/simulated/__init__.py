"""A simulated camera that looks at point emitters, and the truth about what it saw."""

"""Moving runs all the time: when it is done by itself, how fast, and what it gives way to."""

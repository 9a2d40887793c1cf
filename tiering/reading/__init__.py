"""Reading a run wherever the copies of its objects lie."""

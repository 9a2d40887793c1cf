"""Storage that answers later: putting objects away there, and recalling them."""

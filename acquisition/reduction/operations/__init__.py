"""Steps fitted to the frames that come to them, working in memory that is taken beforehand."""

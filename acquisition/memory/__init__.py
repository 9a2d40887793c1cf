"""Memory that frames are copied into once, and from which they are written."""

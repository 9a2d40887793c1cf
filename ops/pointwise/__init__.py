"""What is done to each pixel by itself, in one pass over memory."""

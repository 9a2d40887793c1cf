"""What a machine is examined for, one subject a file."""

"""What tiering is measured by."""

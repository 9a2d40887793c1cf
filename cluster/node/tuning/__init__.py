"""Making a machine what its role wishes for, and taking that back."""

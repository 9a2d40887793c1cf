"""What policies would cost over years, in a laboratory that is made up."""

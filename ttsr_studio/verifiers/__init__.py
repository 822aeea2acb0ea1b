"""What tells candidates apart."""

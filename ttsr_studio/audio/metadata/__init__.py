"""What a file says besides audio, carried over to its render."""

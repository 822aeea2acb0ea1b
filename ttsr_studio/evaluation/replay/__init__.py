"""Other choices tried on scores that are kept."""

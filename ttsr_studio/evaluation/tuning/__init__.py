"""Settings of a search found by trial."""

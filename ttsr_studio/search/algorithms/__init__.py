"""One search algorithm a file."""

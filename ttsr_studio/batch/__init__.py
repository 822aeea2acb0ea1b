"""Many files: what is to be rendered, where to, and the one loop that does it."""

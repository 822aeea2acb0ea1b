"""One file, from source to render and report."""

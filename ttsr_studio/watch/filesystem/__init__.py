"""The watched tree: its root, events, and files that are still being written."""

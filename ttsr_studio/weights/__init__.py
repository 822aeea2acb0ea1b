"""Weights that are not shipped: which there are, how to get them, how they are checked."""

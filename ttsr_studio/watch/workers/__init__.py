"""Processes that render, and what watches over them."""

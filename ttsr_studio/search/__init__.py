"""Searches of the sampling noise, and how windows are joined."""

"""Bandwidth: up to which frequency a file holds real audio, by time and channel, and how that is known."""

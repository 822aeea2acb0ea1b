"""Intervals, tables and curves."""

"""Evaluation: full-band clips in, tables and curves out; every system is measured by the same code."""

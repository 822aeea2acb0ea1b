"""Solvers of the probability flow."""

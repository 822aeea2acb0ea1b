"""Verifiers that measure the signal."""

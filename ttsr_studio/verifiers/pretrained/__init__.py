"""Verifiers with weights of others."""

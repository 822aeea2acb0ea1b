"""Clips with truth in, systems through, columns out."""

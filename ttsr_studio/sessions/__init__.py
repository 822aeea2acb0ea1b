"""Sessions of other programs: which media they play, and the same session playing renders of these."""

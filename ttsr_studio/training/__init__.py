"""How the shipped weights were made: pairs to learn from, and one resumable command per network."""

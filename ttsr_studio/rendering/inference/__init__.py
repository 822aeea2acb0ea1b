"""The search of windows: sampling, scoring, budget, joining."""

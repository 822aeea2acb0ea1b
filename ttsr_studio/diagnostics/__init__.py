"""What is installed here, what works, and how fast."""

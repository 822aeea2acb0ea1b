"""AudioSR (Liu et al. 2024, "AudioSR: versatile audio super-resolution at scale") and its official checkpoints."""

"""TTSR Studio: inference-time search for diffusion-based audio super-resolution."""

__version__ = "0.1.0"

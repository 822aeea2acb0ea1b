"""How well verifiers and uncertainty tell renders apart."""

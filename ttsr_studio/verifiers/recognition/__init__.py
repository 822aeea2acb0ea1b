"""Speech recognition, for the verifier wer."""

"""Audio in, what the report shows of it out: spectra, spectrograms, where candidates disagree."""

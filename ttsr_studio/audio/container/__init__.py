"""Chunks and blocks of RIFF, AIFF and FLAC files, kept byte for byte."""

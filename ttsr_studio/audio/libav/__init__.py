"""Reading by FFmpeg's libraries (PyAV), in a process of its own, of whatever soundfile does not read."""

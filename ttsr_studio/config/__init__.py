"""Where options come from: presets, sidecars, flags, and how they are joined."""

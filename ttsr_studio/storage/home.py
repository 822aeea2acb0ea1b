"""The user's folder in paths that no shell has read."""

from pathlib import Path


def from_home(path: str) -> str:
    """A path whose "~/" is the user's folder, as shells read one that stands in no quotes."""
    return str(Path(path).expanduser()) if path.startswith(("~/", "~\\")) else path

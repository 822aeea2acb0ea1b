"""From what a session says of a file to the file, and back in the same way of writing."""

import os
import re
from pathlib import Path, PureWindowsPath
from urllib.parse import quote, unquote, urlsplit

from ttsr_studio.storage.home import from_home

_DRIVE = re.compile(r"^/?[A-Za-z]:[\\/]|^\\\\")
_SCHEME = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+:")
SAFE = "/:!$&'()*+,;=@~-._"
"""What stands in the path of a URL as it is."""


def path_said(reference: str) -> tuple[str | None, str]:
    """The path that a reference names, as text, and what is wrong with it where it names none."""
    if _DRIVE.match(reference):
        return reference.lstrip("/") if reference[:1] == "/" else reference, ""
    if _SCHEME.match(reference):
        parts = urlsplit(reference)
        if parts.scheme.lower() != "file":
            return None, f"is of {parts.scheme}:, not a file of this machine"
        host = "" if parts.netloc.lower() in ("", "localhost") else f"//{parts.netloc}"
        path = unquote(parts.path)
        return (path.lstrip("/") if _DRIVE.match(path) else host + path), ""
    return reference, ""


def found_file(reference: str, folder: Path) -> tuple[Path | None, str, str]:
    """The file that a reference means -> (path, trouble, note).

    What lies elsewhere than the session says is looked for by its name, with as many of its folders as fit, below the
    session's own folder.
    """
    said, trouble = path_said(reference)
    if said is None:
        return None, trouble, ""
    if not said.strip() or "\0" in said:
        return None, "names no file", ""
    for text in dict.fromkeys([said, unquote(said), said.replace("\\", "/")]):
        path = Path(os.path.normpath(folder / from_home(text)))
        if path.is_file():
            return path, "", ""
    parts = [part for part in PureWindowsPath(said.replace("\\", "/")).parts if part not in ("/", "\\", "..")]
    for start in range(1 if len(parts) > 1 else 0, len(parts)):
        path = folder.joinpath(*parts[start:])
        if not PureWindowsPath(parts[start]).drive and path.is_file():
            return path, "", f"not where the session says; taken from {path}"
    there = Path(os.path.normpath(folder / said))
    return None, "is a folder" if there.is_dir() else "there is no such file", ""


def written_like(reference: str, path: Path, folder: Path) -> str:
    """A path as a reference in the way of another: a URL, relative to the session's folder, or absolute."""
    absolute = Path(os.path.abspath(path))
    if _SCHEME.match(reference) and not _DRIVE.match(reference):
        host = "localhost" if reference.lower().startswith("file://localhost/") else ""
        text = absolute.as_posix()
        return f"file://{host}{'' if text.startswith('/') else '/'}{quote(text, safe=SAFE)}"
    if os.path.isabs(reference) or _DRIVE.match(reference):
        return str(absolute)
    try:
        relative = os.path.relpath(absolute, os.path.abspath(folder))
    except ValueError:  # another drive
        return str(absolute)
    return relative.replace(os.sep, "/")


def name_of(reference: str) -> str:
    """The name of the file that a reference means."""
    said, _ = path_said(reference)
    name = PureWindowsPath((said or reference).replace("\\", "/")).name
    return name or "medium"

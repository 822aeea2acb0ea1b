"""What two machines must have in common for a render to come out the same: versions, code, and weights' checksums."""

import hashlib
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path

from ttsr_studio import __version__
from ttsr_studio.errors import TtsrError
from ttsr_studio.weights import store

PACKAGE = Path(__file__).parents[1]
GROUPS = ("engines", "verifiers", "searches", "samplers")
"""Of entry points by which other packages add to this one."""

Installation = dict[str, str]
"""What there is -> which one, in words short enough for a line."""


def installation() -> Installation:
    """What is installed here; nothing of it is imported, so that this takes a tenth of a second."""
    found = {
        "ttsr-studio": __version__,
        "Python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "torch": version("torch").partition("+")[0],  # after the plus stands what it was built for
        "code of ttsr-studio": checksum_of_code(PACKAGE),
        "weights of builtin": first_letters(Path(PACKAGE, "engines/builtin/builtin.safetensors.sha256").read_text()),
    }
    return found | dict(installed_plugins()) | dict(installed_models())


def checksum_of_code(package: Path) -> str:
    """Short checksum over every module; versions do not tell two checkouts apart."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return first_letters(digest.hexdigest())


def installed_plugins() -> Iterator[tuple[str, str]]:
    """Packages that add engines, verifiers, searches or samplers, and their versions."""
    for group in GROUPS:
        for entry in entry_points(group=f"ttsr_studio.{group}"):
            if entry.dist:
                yield f"plug-in {entry.dist.name}", entry.dist.version


def installed_models() -> Iterator[tuple[str, str]]:
    """Weights that were installed besides, by their checksums."""
    root = store.root()
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        try:
            manifest = None if folder.name.startswith(".") else store.installed(folder.name)
        except TtsrError:
            continue  # whoever wants them is told
        if manifest:
            every = "".join(sorted(manifest.checksums().values()))
            yield f"weights of {folder.name}", first_letters(hashlib.sha256(every.encode()).hexdigest())


def first_letters(checksum: str) -> str:
    return checksum[:12]


def how_it_differs(ours: Mapping[str, str], theirs: Mapping[str, str]) -> str | None:
    """How another machine differs in what we have, in a line; None where it does not.

    What it has besides is its own affair, but for plug-ins, which may take the place of what a name stood for.
    """
    wrong = [
        f"{name} {theirs[name]} instead of {value}" if name in theirs else f"no {name}"
        for name, value in ours.items()
        if theirs.get(name) != value
    ]
    wrong += [
        f"{name} {value}, which is not here"
        for name, value in theirs.items()
        if name.startswith("plug-in ") and name not in ours
    ]
    return "; ".join(wrong) or None


def ray_version() -> str | None:
    """Of the ray that is installed, None without one."""
    try:
        return version("ray")
    except PackageNotFoundError:
        return None

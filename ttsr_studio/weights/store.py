"""Where weights that are not shipped live: a folder a model, with a manifest that says what is in it and where from."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import platformdirs

from ttsr_studio.errors import MissingError, OutputError, shown
from ttsr_studio.storage.checksum import sha256

MANIFEST = "model.json"
VARIABLE = "TTSR_MODELS"

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Manifest:
    """What a model's folder holds.

    Attributes:
        name: registry name.
        licence: of the weights.
        origin: file or repository and revision that it was made from.
        origin_sha256: of the one file that it was made from; None for several.
        files: {name: {"sha256": hex digest, "bytes": size}}.
        config: whatever the model's loader needs to know: sizes, precision, measured constants.
    """

    name: str
    licence: str
    origin: str
    origin_sha256: str | None
    files: dict[str, dict[str, Any]]
    config: dict[str, Any]

    def checksums(self) -> dict[str, str]:
        """{file name: sha256}, as reports have it."""
        return {name: str(entry["sha256"]) for name, entry in self.files.items()}


def root() -> Path:
    """The folder of all models: $TTSR_MODELS, or the platform's cache folder."""
    given = os.environ.get(VARIABLE)
    return Path(given).expanduser() if given else platformdirs.user_cache_path("ttsr-studio") / "models"


def folder(name: str) -> Path:
    """Where a model is, or would be."""
    return root() / name


def installed(name: str) -> Manifest | None:
    """A model's manifest, None when it is not installed. Raises MissingError when the manifest cannot be read."""
    path = folder(name) / MANIFEST
    if not path.is_file():
        return None
    try:
        return Manifest(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise MissingError(f"{shown(path)}: not a manifest of ttsr ({error}); {remedy(name)}") from error


def require(name: str) -> tuple[Path, Manifest]:
    """An installed model's folder and manifest, once its files are found to be what was installed, by checksum.

    Raises MissingError, with the command that gets it, otherwise.
    """
    broken = damaged(name)
    if broken:
        raise MissingError(f"{folder(name)}: {', '.join(broken)}: damaged; {remedy(name)}")
    return present(name)


def present(name: str) -> tuple[Path, Manifest]:
    """An installed model's folder and manifest, its files there and of the right sizes. Raises as `require`."""
    manifest = installed(name)
    if manifest is None:
        raise MissingError(f"{name}: its weights are not installed; {remedy(name)}")
    for file, entry in manifest.files.items():
        path = folder(name) / file
        size = path.stat().st_size if path.is_file() else None
        if size != entry["bytes"]:
            what = "missing" if size is None else f"{size} bytes instead of {entry['bytes']}"
            raise MissingError(f"{shown(path)}: {what}; {remedy(name)}")
    return folder(name), manifest


def remedy(name: str) -> str:
    return f"get them with `ttsr models fetch {name}`, or `ttsr models import {name} FILE` from a file you have"


def damaged(name: str) -> list[str]:
    """Names of an installed model's files whose checksum is not the manifest's. Raises MissingError as `require`."""
    place, manifest = present(name)
    return [file for file, entry in manifest.files.items() if sha256(place / file) != entry["sha256"]]


def describe(place: Path) -> dict[str, dict[str, Any]]:
    """The manifest's entries for all files below a folder."""
    files = sorted(p for p in place.rglob("*") if p.is_file() and p.name != MANIFEST)
    return {p.relative_to(place).as_posix(): {"sha256": sha256(p), "bytes": p.stat().st_size} for p in files}


def refuse_without_room(place: Path, needed: int) -> None:
    """Raise OutputError when a folder's disk has less than `needed` bytes to spare."""
    free = shutil.disk_usage(place).free
    if free < needed:
        raise OutputError(
            f"{place}: {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB needed; make room, or set {VARIABLE} to a "
            "folder on another disk"
        )


@contextmanager
def installing(name: str) -> Iterator[Path]:
    """An empty folder to put a model's files into; it takes the model's place when nothing went wrong.

    Raises OutputError when the folder cannot be made.
    """
    try:
        root().mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=root()))
    except OSError as error:
        raise OutputError(f"{root()}: cannot be written to ({error.strerror}); set {VARIABLE} to another") from error
    try:
        yield staging
        for path in (staging, *staging.rglob("*")):  # some libraries write for the owner alone
            path.chmod(0o755 if path.is_dir() else 0o644)
        target = folder(name)
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{name}-old-", dir=root()))
            target.rename(old / name)
            staging.rename(target)
            shutil.rmtree(old, ignore_errors=True)
        else:
            staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def seal(place: Path, name: str, licence: str, origin: str, origin_sha256: str | None, config: dict[str, Any]) -> None:
    """Write the manifest of what a folder holds."""
    manifest = Manifest(name, licence, origin, origin_sha256, describe(place), config)
    (place / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")

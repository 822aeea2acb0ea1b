"""Fetching weights from the hub and installing them from files."""

import os
import shutil
from pathlib import Path

from ttsr_studio import store
from ttsr_studio.errors import InputError, MissingError, OutputError
from ttsr_studio.models import Model
from ttsr_studio.store import Tell

PRECISIONS = ("fp16", "fp32")


def install(
    model: Model, source: Path, precision: str, tell: Tell, *, origin: str | None = None, expected: str | None = None
) -> None:
    """Convert a file into a model's folder; what was installed before stays until that has gone well.

    Args:
        origin: where the file came from, for the manifest; its name by default.
        expected: sha256 that the file must have, None to accept any.

    Raises InputError for a file that is not this model's, OutputError when there is no room for the result.
    """
    if not source.is_file():
        raise InputError(f"{source}: {'a folder' if source.is_dir() else 'no such file'}; give the file {model.file}")
    tell(f"{model.name}: reading the checksum of {source.name}")
    digest = store.sha256(source)
    if expected is not None and digest != expected:
        raise InputError(
            f"{source}: sha256 {digest[:12]}… is not the hub's {expected[:12]}…; delete it and fetch again"
        )
    with store.installing(model.name) as place:
        needed = min(model.kept, source.stat().st_size) * (2 if precision == "fp32" else 1)
        store.refuse_without_room(place, needed)
        try:
            config = model.convert(source, place, precision, tell)
        except OSError as error:
            raise OutputError(f"{place}: {error.strerror or error}") from error
        store.seal(place, model.name, model.licence, origin or source.name, digest, config)


def fetch(model: Model, precision: str, tell: Tell, *, offline: bool, keep: bool) -> None:
    """Download a model, going on where an earlier attempt stopped, check it and install it.

    Args:
        offline: never ask the network; a download that is complete already is installed.
        keep: leave the download where it is (for `install` at another precision).

    Raises MissingError when the hub cannot be reached or refuses, InputError for a file that is not what the hub says.
    """
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    downloads = store.root() / ".downloads" / model.name
    try:
        downloads.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{downloads}: cannot be made ({error.strerror}); set {store.VARIABLE} to another") from error
    by_hand = f"download {model.file} of {model.repository} elsewhere and `ttsr models import {model.name} FILE`"
    try:
        expected, revision = None, "offline"
        if not offline:
            found = get_hf_file_metadata(hf_hub_url(model.repository, model.file))
            expected, revision = found.etag, found.commit_hash or "main"
            store.refuse_without_room(downloads, (found.size or model.bytes) - _partly(downloads))
            tell(f"{model.name}: {(found.size or model.bytes) / 1e9:.2f} GB from {model.repository}")
        path = hf_hub_download(
            model.repository,
            model.file,
            revision=None if offline else revision,
            local_dir=downloads,
            local_files_only=offline,
        )
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        why = "not downloaded yet" if offline else "the hub cannot be reached"
        raise MissingError(f"{model.name}: {why}; {by_hand}") from error
    except HfHubHTTPError as error:
        raise MissingError(f"{model.name}: the hub refuses ({_short(error)}); {by_hand}") from error
    except Exception as error:  # whichever library carries the connection raises its own
        raise MissingError(
            f"{model.name}: download failed ({type(error).__name__}: {_short(error)}); run the same command again to "
            f"go on, or {by_hand}"
        ) from error
    # The hub's tag of a large file is its sha256; a small one's is another hash and says nothing here.
    known = expected if expected and len(expected) == 64 else None
    install(model, Path(path), precision, tell, origin=f"{model.repository}@{revision}", expected=known)
    if not keep:
        shutil.rmtree(downloads, ignore_errors=True)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]


def _partly(downloads: Path) -> int:
    """Bytes of an earlier attempt that are there already."""
    return sum(path.stat().st_size for path in downloads.rglob("*") if path.is_file())

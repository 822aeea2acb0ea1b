"""Fetching weights from the hub and installing them from files."""

import os
import shutil
import urllib.request
from pathlib import Path

from ttsr_studio.errors import InputError, MissingError, OutputError, TtsrError
from ttsr_studio.storage.checksum import sha256
from ttsr_studio.weights import store
from ttsr_studio.weights.registry import Model
from ttsr_studio.weights.store import Tell

PRECISIONS = ("fp16", "fp32")


def install(
    model: Model, source: Path, precision: str, tell: Tell, *, origin: str | None = None, expected: str | None = None
) -> None:
    """Convert a file, or a folder of files, into a model's folder; what was there before stays until that went well.

    Args:
        origin: where it came from, for the manifest; its name by default.
        expected: sha256 that the file must have, None to accept any.

    Raises InputError for what is not this model's, OutputError when there is no room for the result.
    """
    single = len(model.files) == 1
    if single and source.is_dir() and (source / model.files[0]).is_file():
        source = source / model.files[0]
    if not (source.is_file() if single else source.is_dir()):
        wanted = f"the file {model.files[0]}" if single else f"the folder with {', '.join(_names(model))}"
        raise InputError(f"{source}: {_what(source)}; give {wanted}")
    digest = None
    if single:
        tell(f"{model.name}: reading the checksum of {source.name}")
        digest = sha256(source)
    if expected is not None and digest != expected:
        raise InputError(f"{source}: sha256 {str(digest)[:12]}… is not the hub's; delete it and fetch again")
    with store.installing(model.name) as place:
        there = source.stat().st_size if single else sum(p.stat().st_size for p in source.iterdir() if p.is_file())
        store.refuse_without_room(place, min(model.kept, there) * (2 if precision == "fp32" else 1))
        try:
            config = model.convert(source, place, precision, tell)
        except OSError as error:
            raise OutputError(f"{place}: {error.strerror or error}") from error
        store.seal(place, model.name, model.licence, origin or source.name, digest, config)


def _names(model: Model) -> list[str]:
    return [name.removesuffix("?") for name in model.files]


def _what(path: Path) -> str:
    return "a folder" if path.is_dir() else "a file" if path.is_file() else "no such file or folder"


def fetch(model: Model, precision: str, tell: Tell, *, offline: bool, keep: bool) -> None:
    """Download a model, going on where an earlier attempt stopped, check it and install it.

    Args:
        offline: never ask the network; a download that is complete already is installed.
        keep: leave the download where it is (for `install` at another precision).

    Raises MissingError when the hub cannot be reached or refuses, InputError for a file that is not what the hub says.
    """
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    downloads = store.root() / ".downloads" / model.name
    try:
        downloads.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{downloads}: cannot be made ({error.strerror}); set {store.VARIABLE} to another") from error
    wanted = " and ".join(_names(model)) if len(model.files) < 3 else "the files"
    by_hand = f"download {wanted} of {model.repository} elsewhere and `ttsr models import {model.name} FILE`"
    try:
        bring = _from_url if model.url else _from_hub
        source, revision, expected = bring(model, downloads, offline, tell)
    except TtsrError:
        raise
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
    install(model, source, precision, tell, origin=f"{model.repository}@{revision}", expected=expected)
    if not keep:
        shutil.rmtree(downloads, ignore_errors=True)


def _from_hub(model: Model, downloads: Path, offline: bool, tell: Tell) -> tuple[Path, str, str | None]:
    """Bring a repository's files into a folder -> (file or folder, revision, sha256 of a single large file)."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    revision: str | None = None
    expected = None
    for name in model.files:
        optional, name = name.endswith("?"), name.removesuffix("?")
        if optional and name == "pytorch_model.bin" and (downloads / "model.safetensors").is_file():
            continue
        try:
            if not offline:
                found = get_hf_file_metadata(hf_hub_url(model.repository, name, revision=revision))
                revision = found.commit_hash or "main"
                # The hub's tag of a large file is its sha256; a small one's is another hash.
                tag = found.etag if found.etag and len(found.etag) == 64 else None
                expected = tag if len(model.files) == 1 else None
                size = found.size or (model.bytes if len(model.files) == 1 else 0)
                store.refuse_without_room(downloads, size - _partly(downloads))
                tell(f"{model.name}: {name}, {size / 1e6:.1f} MB, from {model.repository}")
            hf_hub_download(model.repository, name, revision=revision, local_dir=downloads, local_files_only=offline)
            if not offline and tag and len(model.files) > 1 and sha256(downloads / name) != tag:
                raise InputError(f"{downloads / name}: not the file that the hub says it is; delete it and fetch again")
        except EntryNotFoundError:
            if not optional:
                raise
    single = len(model.files) == 1
    return (downloads / model.files[0] if single else downloads), revision or "offline", expected


def _from_url(model: Model, downloads: Path, offline: bool, tell: Tell) -> tuple[Path, str, str | None]:
    """Bring one file from its address, going on where an earlier attempt stopped -> (file, revision, sha256)."""
    assert model.url is not None
    name, digest = model.files[0], model.url.split("/")[-2]
    target = downloads / name
    if offline:
        if not target.is_file():
            raise MissingError(f"{model.name}: not downloaded yet; run without --offline, or import a file you have")
        return target, digest[:12], digest
    part = downloads / f"{name}.part"
    have = part.stat().st_size if part.is_file() else 0
    if not target.is_file():
        store.refuse_without_room(downloads, model.bytes - have)
        tell(f"{model.name}: {name}, {model.bytes / 1e6:.0f} MB, from {model.repository}")
        request = urllib.request.Request(model.url, headers={"Range": f"bytes={have}-"} if have else {})
        with urllib.request.urlopen(request, timeout=60) as answer:
            mode = "ab" if answer.status == 206 else "wb"
            with part.open(mode) as file:
                shutil.copyfileobj(answer, file, 1 << 20)
        part.rename(target)
    return target, digest[:12], digest


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]


def _partly(downloads: Path) -> int:
    """Bytes of an earlier attempt that are there already."""
    return sum(path.stat().st_size for path in downloads.rglob("*") if path.is_file())

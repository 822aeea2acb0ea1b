"""How an upload becomes a stem below the root, and how a stem is told to be rendered in another way: by its sidecar.

What is rendered, when and by whom is the queue's alone; it is told of what lies there as the scanner tells it.
"""

import threading
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import tomlkit

from ttsr_studio.audio.formats import SOUNDING
from ttsr_studio.config import presets
from ttsr_studio.config.option_fields import held_by
from ttsr_studio.config.resolve import LIMITS, resolve
from ttsr_studio.config.sidecar import KEYS, read_sidecar, sidecar
from ttsr_studio.errors import InputError, OptionError, shown, unknown
from ttsr_studio.options import RenderOptions
from ttsr_studio.storage.atomic import fit_name, publish, sync_folder, write_atomic
from ttsr_studio.storage.checksum import sha256
from ttsr_studio.watch.context import ServiceContext
from ttsr_studio.watch.filesystem.root import DONE, is_ignored, regular
from ttsr_studio.watch.queue.jobs import Offer
from ttsr_studio.watch.queue.states import Hold, JobState
from ttsr_studio.watch.queue.store import JobRecord
from ttsr_studio.watch.web.uploads import Upload, Uploads

NAMING_FILES = ("reference", "speaker", "chain")
SETTABLE = tuple(name for name in held_by("sidecar") if name not in NAMING_FILES)
"""What a page may set of a file: all that a sidecar may, but what names other files."""

MOST_LETTERS = 10_000

SidecarValues = Mapping[str, Any]


class Landing:
    """Puts uploads below the root, and writes sidecars; for several threads."""

    def __init__(self, context: ServiceContext, uploads: Uploads) -> None:
        self.context, self.root, self.uploads = context, context.root, uploads
        self.lock = threading.Lock()

    def land(self, upload: Upload, values: SidecarValues, priority: int | None) -> JobRecord:
        """Make an upload a stem of the root that is rendered with these options; whole, by a rename.

        Raises OptionError for options or a folder that cannot be, OutputError or OSError where nothing can be written.
        """
        with self.lock:
            folder = self.folder(upload.folder)
            target = free_stem(folder / upload.name)
            path = str(target.relative_to(self.root.path))
            self.refuse_ignored(path)
            self.options(path, values)
            if values:
                write_atomic(sidecar(target), tomlkit.dumps(dict(values)).encode())
            publish(self.uploads.path(upload), target, replace=False)
            sync_folder(folder)
            self.uploads.remove(upload)
        return self.offer(path, priority)

    def again(self, row: JobRecord, changes: SidecarValues) -> JobRecord:
        """Have a stem rendered with other options: those change in its sidecar, None takes one out.

        Raises InputError where its source is gone or its sidecar cannot be read, and what `land` does.
        """
        with self.lock:
            source = self.root.path / row.path
            self.folder(source.parent.relative_to(self.root.path).as_posix().removeprefix("."))
            self.bring_back(row)
            document = self.merged(row, changes)
            self.options(row.path, document.unwrap())
            write_atomic(sidecar(source), tomlkit.dumps(document).encode())
        with closing(self.context.open_queue()) as queue:
            queue.cancel([row.path] if row.state is JobState.RUNNING else [])
        return self.offer(row.path, row.priority)

    def merged(self, row: JobRecord, changes: SidecarValues) -> tomlkit.TOMLDocument:
        """A stem's sidecar with changes, comments and order as they were. Raises InputError for a broken one."""
        beside = sidecar(self.root.path / row.path)
        known = read_sidecar(beside) if regular(beside) else {}
        document = tomlkit.parse(beside.read_text(encoding="utf-8") if known else "")
        for key, value in changes.items():
            document.pop(key, None)
            if value is not None:
                document.pop(LIMITS.get(key, ""), None)
                document[key] = value
        return document

    def options(self, path: str, values: SidecarValues) -> RenderOptions:
        """Options of a file with these in its sidecar. Raises OptionError for what is unknown or wrong."""
        name = Path(path).name
        for key, value in values.items():
            if key not in held_by("sidecar"):
                raise OptionError(f"{unknown('option', key, SETTABLE)}")
            if isinstance(value, str) and len(value) > MOST_LETTERS:
                raise OptionError(f"{key}: longer than {MOST_LETTERS} letters")
        rule = self.context.rules.of(path)
        own = {key: value for key, value in values.items() if key not in (*KEYS, "reference")}
        preset = own.pop("preset", rule.preset)
        if preset not in presets.available():
            raise unknown("preset", str(preset), presets.available())
        options = resolve(preset, {**rule.values, **{k: presets.checked(Path(name), k, v) for k, v in own.items()}})
        for key, count in (("keep-top", options.keep_top), ("take", options.take)):
            if options.candidates is not None and count > options.candidates:
                raise OptionError(f"{key} {count}: more than the {options.candidates} candidates that are made")
        return options

    def offer(self, path: str, priority: int | None) -> JobRecord:
        """Tell the queue of a file that is complete. Raises InputError where it is gone already."""
        rule, signature = self.context.rules.of(path), self.root.signature_of(path)
        if signature is None:
            raise InputError(f"{shown(Path(path))}: gone before it was rendered; drop it again")
        held = Hold.SIDECAR if rule.wait_for_sidecar and not signature.sidecar else None
        with closing(self.context.open_queue()) as queue:
            queue.offer([Offer(path, signature, rule.priority if priority is None else priority, held)])
            if priority is not None:  # a scan may have told of it before
                queue.prioritise([path], priority)
            row = queue.find(path)
        assert row
        self.context.wake.everyone()
        return row

    def folder(self, below: str) -> Path:
        """A folder below the root, made where it is not there. Raises OptionError for one that leads elsewhere."""
        folder = self.root.path
        for part in filter(None, below.split("/")):
            folder = folder / part
            if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
                raise OptionError(f"{shown(Path(below))}: not a folder of its own below the root; choose another")
            folder.mkdir(exist_ok=True)
        if not folder.resolve().is_relative_to(self.root.path.resolve()):
            raise OptionError(f"{shown(Path(below))}: lies outside the watched root")
        return folder

    def refuse_ignored(self, path: str) -> None:
        """Raise OptionError for a file that the folder's own rules leave alone."""
        if self.context.rules.of(path).ignores(path):
            raise OptionError(f"{shown(Path(path))}: a ttsr-watch.toml says to leave such files alone; rename it")

    def bring_back(self, row: JobRecord) -> None:
        """Take a source out of the folder of finished ones again, where it was moved there.

        Raises InputError where it is gone.
        """
        source, moved = self.root.path / row.path, self.root.path / DONE / row.path
        if regular(source):
            return
        if not regular(moved) or sha256(moved) != row.sha256:
            raise InputError(f"{shown(Path(row.path))}: its source is gone; drop it again")
        self.folder(Path(row.path).parent.as_posix().removeprefix("."))
        if regular(sidecar(moved)) and not sidecar(source).exists():
            sidecar(moved).rename(sidecar(source))
        publish(moved, source, replace=False)
        moved.unlink(missing_ok=True)


def refuse_unsettable(values: SidecarValues) -> None:
    """Raise OptionError for what a page may not set."""
    for key, value in values.items():
        if key not in SETTABLE:
            raise OptionError(str(unknown("option", key, SETTABLE)))
        if key == "transcript" and isinstance(value, str) and value.endswith(".txt"):
            raise OptionError("transcript: the words themselves, not the name of a file")


def free_stem(path: Path) -> Path:
    """The path, with a number where another sound or a sidecar has its name already, whatever its ending."""
    number, taken = 1, {}
    for other in path.parent.iterdir():
        taken[other.stem.casefold()] = other.suffix.lower() in SOUNDING
    candidate = path
    while taken.get(candidate.stem.casefold()) or sidecar(candidate).exists() or is_there(candidate):
        number += 1
        candidate = path.with_name(fit_name(f"{path.stem}~{number}{path.suffix}"))
    if is_ignored(candidate.name):
        raise OptionError(f"{shown(Path(path.name))}: files of such names are left alone; rename it")
    return candidate


def is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()

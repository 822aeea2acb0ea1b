"""Job files: what another program wants rendered, and what it is told of it (docs/studio/jobs.md).

All files are UTF-8 JSON, written whole or not at all.
"""

import contextlib
import json
import os
import re
import stat
import time
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from ttsr_studio import __version__
from ttsr_studio.batch.job_schema import VERSION, job_schema
from ttsr_studio.batch.run import CancelledError
from ttsr_studio.errors import OptionError, OutputError, TtsrError, shown
from ttsr_studio.rendering.inference.progress import Event
from ttsr_studio.storage.atomic import write_atomic
from ttsr_studio.storage.home import from_home
from ttsr_studio.storage.names import FileKeys

PROGRESS_SECONDS = 0.25

ANSWERS = ("result", "progress", "cancel", "done")
_EARLIER = re.compile(rb"\s*|\d{1,3}\s*|\s*\{\s*\"(result|progress)_version\".*", re.DOTALL)
"""What an answer of an earlier run begins with, or is."""


@dataclass(frozen=True)
class JobFile:
    """A job as it was read; paths are absolute.

    Attributes:
        options: values by option name.
    """

    path: Path
    inputs: tuple[Path, ...]
    result: Path
    preset: str = "general"
    options: Mapping[str, Any] = field(default_factory=dict)
    output: str | None = None
    existing: Literal["refuse", "overwrite", "skip"] = "refuse"
    keep_top: int | None = None
    page: bool = False
    progress: Path | None = None
    cancel: Path | None = None
    done: Path | None = None

    def place(self, name: str) -> Path:
        """A path that stands in the job, absolute."""
        return Path(os.path.abspath(self.path.parent / from_home(name)))


def read_job(path: Path) -> JobFile:
    """Read a job file. Raises OptionError when it is none, naming the place that is wrong."""
    data = read_json(path)
    error = best_match(schema().iter_errors(data))
    if error is not None:
        place = "/".join(map(str, error.absolute_path)) or "the job"
        raise OptionError(f"{shown(path)}: {place}: {in_short(error.message)}{known_keys(error.validator)}")
    base = JobFile(path, (), path)
    paths = {name: base.place(data[name]) if name in data else None for name in ANSWERS}
    refuse_shared(path, {"the job": path.absolute()} | paths)
    output = data.get("output")
    if output and not output.startswith("{"):
        ending = os.sep if output.endswith(("/", os.sep)) else ""
        output = str(base.place(output)) + ending
    return JobFile(
        path,
        tuple(base.place(name) for name in data["inputs"]),
        paths["result"] or path,
        data.get("preset", "general"),
        data.get("options", {}),
        output,
        data.get("existing", "refuse"),
        data.get("keep_top"),
        data.get("page", False),
        paths["progress"],
        paths["cancel"],
        paths["done"],
    )


def read_json(path: Path) -> Any:
    """What a file holds. Raises OptionError when it cannot be read as JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise OptionError(f"{shown(path)}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"{shown(path)}: not UTF-8 ({error.reason} at byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise OptionError(f"{shown(path)}: not JSON (line {error.lineno}: {error.msg})") from error


@cache
def schema() -> Draft202012Validator:
    """What checks a job, but for its options: these are checked, and refused in our words, as flags are."""
    made = job_schema()
    made["properties"]["options"] = {"type": "object"}
    return Draft202012Validator(made)


def in_short(message: str) -> str:
    return " ".join(message.split())[:200]


def known_keys(rule: Any) -> str:
    """The list of keys, where an unknown one is what is wrong."""
    if rule != "additionalProperties":
        return ""
    return f"; known: {', '.join(schema().schema['properties'])}"


def answers(path: Path) -> tuple[Path | None, Path | None]:
    """Where a job that may be wrong wants its result and its done file; None where that cannot be told or written."""
    with contextlib.suppress(TtsrError):
        data = read_json(path)
        if isinstance(data, dict):
            named = [data.get(name) for name in ("result", "done")]
            result, done = (path.parent / from_home(name) if isinstance(name, str) and name else None for name in named)
            result, done = (place if place and is_answer(place) else None for place in (result, done))
            return result, done if done != result else None
    return None, None


def is_answer(path: Path) -> bool:
    """Whether nothing is lost when this is written over: it is not there, is empty, or answers an earlier run."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False  # a device, a pipe, a folder, a link
    except OSError:
        return True
    try:
        with path.open("rb") as file:
            return _EARLIER.fullmatch(file.read(1 << 10)) is not None
    except OSError:
        return False


def refuse_shared(job: Path, paths: Mapping[str, Path | None]) -> None:
    """Raise OptionError where two names are of one file."""
    seen: dict[Hashable, str] = {}
    keys = FileKeys()
    for name, path in paths.items():
        if path is None:
            continue
        other = seen.setdefault(keys.of(path), name)
        if other != name:
            raise OptionError(f"{shown(job)}: {name}: is {other}, too; give each a file of its own")


def clear_old(*paths: Path | None) -> None:
    """Remove what an earlier run left.

    Raises OutputError where something else is in the way, or no folder is there.
    """
    for path in filter(None, paths):
        if not is_answer(path):
            raise OutputError(f"{shown(path)}: is something else and is left as it is; name a file of its own")
        try:
            path.unlink(missing_ok=True)
            write_atomic(path, b"")
            path.unlink()
        except OSError as error:
            raise OutputError(f"{shown(path)}: cannot be written ({error.strerror})") from error


@dataclass
class FileResult:
    """What became of one input."""

    input: str
    status: Literal["rendered", "failed", "skipped", "cancelled"]
    reason: str = ""
    output: str | None = None
    report: str | None = None
    figure: str | None = None
    page: str | None = None
    top: list[dict[str, Any]] = field(default_factory=list)
    uncertain: list[dict[str, Any]] = field(default_factory=list)
    notices: list[dict[str, str]] = field(default_factory=list)
    seconds: float | None = None


def write_answers(
    result: Path | None, done: Path | None, code: int, message: str, status: str, results: list[FileResult]
) -> str | None:
    """Write the result, then, whatever came of that, the done file; what went wrong, if anything."""
    wrong = None
    data = {
        "result_version": VERSION,
        "status": status,
        "exit_code": code,
        "message": message,
        "version": __version__,
        "files": [asdict(each) for each in results],
    }
    try:
        if result:
            write_atomic(result, (json.dumps(data, indent=2) + "\n").encode())
    except TtsrError as error:
        wrong = str(error)
    try:
        if done:
            write_atomic(done, f"{2 if wrong else code}\n".encode())
    except TtsrError as error:
        wrong = wrong or str(error)
    return wrong


class ProgressFile:
    """Says in a file how far a job is, and looks for the wish to cancel it.

    Args:
        files: how many there are.
    """

    def __init__(self, job: JobFile, files: int) -> None:
        self.job, self.files, self.number, self.source = job, files, 0, ""
        self.told, self.stage = 0.0, ""

    def begin(self, number: int, source: Path) -> None:
        """Turn to the next file; numbers begin at 1."""
        self.number, self.source = number, str(source)
        self(Event("starting", 0, 1))

    def __call__(self, event: Event) -> None:
        """Take a step of a render. Raises CancelledError when the job was called off."""
        now = time.monotonic()
        if event.stage == self.stage and now - self.told < PROGRESS_SECONDS:
            return
        self.told, self.stage = now, event.stage
        if self.job.cancel and self.job.cancel.exists():
            raise CancelledError("cancelled")
        self.write(event.stage, event.done / event.total if event.total else 0.0, event.fraction)

    def write(self, stage: str, share: float, of_file: float) -> None:
        """Write the progress file, where one is wanted. It is no reason to stop when that fails."""
        if self.job.progress is None:
            return
        data = {
            "progress_version": VERSION,
            "files": self.files,
            "file": self.number,
            "input": self.source,
            "stage": stage,
            "share": round(min(1.0, share), 4),
            "of_all": round(min(1.0, (max(0, self.number - 1) + of_file) / max(1, self.files)), 4),
        }
        with contextlib.suppress(OutputError):
            write_atomic(self.job.progress, (json.dumps(data) + "\n").encode())

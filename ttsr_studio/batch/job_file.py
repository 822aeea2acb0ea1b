"""Job files: what another program wants rendered, and what it is told of it (docs/studio/jobs.md).

All files are UTF-8 JSON, written whole or not at all.
"""

import contextlib
import json
import os
import re
import socket
import stat
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from ttsr_studio import __version__
from ttsr_studio.batch.fault import Fault
from ttsr_studio.batch.job_schema import VERSION, job_schema
from ttsr_studio.batch.path_map import AS_THEY_ARE, PathMap
from ttsr_studio.errors import OptionError, OutputError, TtsrError, shown
from ttsr_studio.storage.atomic import write_atomic
from ttsr_studio.storage.home import from_home
from ttsr_studio.storage.names import FileKeys

ANSWERS = ("result", "progress", "cancel", "done")
_EARLIER = re.compile(rb"\s*|\d{1,3}\s*|\s*\{\s*\"(result|progress)_version\".*", re.DOTALL)
"""What an answer of an earlier run begins with, or is."""


@dataclass(frozen=True)
class JobFile:
    """A job as it was read; paths are absolute.

    Attributes:
        options: values by option name.
        outputs: of the inputs, one by one; empty where `output` names them.
        paths: how paths in it are called here.
        app: whether a running app may do it.
    """

    path: Path
    inputs: tuple[Path, ...]
    result: Path
    preset: str = "general"
    options: Mapping[str, Any] = field(default_factory=dict)
    output: str | None = None
    outputs: tuple[Path, ...] = ()
    existing: Literal["refuse", "overwrite", "skip"] = "refuse"
    keep_top: int | None = None
    page: bool = False
    report: bool = True
    progress: Path | None = None
    cancel: Path | None = None
    done: Path | None = None
    paths: PathMap = AS_THEY_ARE
    app: bool = False

    def place(self, name: str) -> Path:
        """A path that stands in the job, absolute, as this machine has it."""
        return Path(os.path.abspath(self.path.parent / from_home(self.paths.of(name))))


def read_job(path: Path, paths: PathMap = AS_THEY_ARE) -> JobFile:
    """Read a job file. Raises OptionError when it is none, naming the place that is wrong.

    Args:
        paths: how the paths that stand in it are called here.
    """
    data = read_json(path)
    error = best_match(schema().iter_errors(data))
    if error is not None:
        place = "/".join(map(str, error.absolute_path)) or "the job"
        raise OptionError(f"{shown(path)}: {place}: {in_short(error.message)}{known_keys(error.validator)}")
    base = JobFile(path, (), path, paths=paths)
    answers = {name: base.place(data[name]) if name in data else None for name in ANSWERS}
    refuse_shared(path, {"the job": path.absolute()} | answers)
    inputs = tuple(base.place(name) for name in data["inputs"])
    return JobFile(
        path,
        inputs,
        answers["result"] or path,
        preset_of(base, data.get("preset", "general")),
        data.get("options", {}),
        output_of(base, data.get("output")),
        outputs_of(base, data, inputs),
        data.get("existing", "refuse"),
        data.get("keep_top"),
        data.get("page", False),
        data.get("report", True),
        answers["progress"],
        answers["cancel"],
        answers["done"],
        paths,
        data.get("app", False),
    )


def preset_of(job: JobFile, name: str) -> str:
    """A preset's name, or the path of its file; one that lies beside the job comes first."""
    place = job.place(name) if name.endswith(".toml") else None
    return str(place) if place and place.is_file() else name


def output_of(job: JobFile, output: str | None) -> str | None:
    """The output of a job, absolute but for a template that begins with a field."""
    if not output or output.startswith("{"):
        return output
    ending = os.sep if output.endswith(("/", os.sep)) else ""
    return str(job.place(output)) + ending


def outputs_of(job: JobFile, data: Mapping[str, Any], inputs: Sequence[Path]) -> tuple[Path, ...]:
    """The outputs of the inputs, one by one. Raises OptionError where they do not go together."""
    outputs = tuple(job.place(name) for name in data.get("outputs", ()))
    if not outputs:
        return ()
    if "output" in data:
        raise OptionError(f"{shown(job.path)}: output and outputs exclude each other; leave one out")
    if len(outputs) != len(inputs):
        raise OptionError(f"{shown(job.path)}: outputs: {len(outputs)} for {len(inputs)} inputs; name one for each")
    if folder := next((each for each in inputs if each.is_dir()), None):
        raise OptionError(f"{shown(folder)}: is a folder; beside outputs every input is a file")
    return outputs


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


def answers(path: Path, paths: PathMap = AS_THEY_ARE) -> tuple[Path | None, Path | None]:
    """Where a job that may be wrong wants its result and its done file; None where that cannot be told or written."""
    with contextlib.suppress(TtsrError):
        data = read_json(path)
        if isinstance(data, dict):
            named = [data.get(name) for name in ("result", "done")]
            base = JobFile(path, (), path, paths=paths)
            result, done = (base.place(name) if isinstance(name, str) and name else None for name in named)
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

    Raises OptionError where something else is in the way, OutputError where no folder is there, or it is full.
    """
    for path in filter(None, paths):
        if not is_answer(path):
            raise OptionError(f"{shown(path)}: is something else and is left as it is; name a file of its own")
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
    fault: Fault | None = None
    output: str | None = None
    report: str | None = None
    figure: str | None = None
    page: str | None = None
    top: list[dict[str, Any]] = field(default_factory=list)
    uncertain: list[dict[str, Any]] = field(default_factory=list)
    notices: list[dict[str, str]] = field(default_factory=list)
    seconds: float | None = None


@dataclass
class JobResult:
    """What became of a job, as its result has it.

    Attributes:
        fault: of a job that is not done: whose fault it is; of several files' the one that a retry may cure.
    """

    status: Literal["done", "failed", "cancelled", "refused"]
    exit_code: int
    message: str
    fault: Fault | None
    files: list[FileResult]

    def to_json(self) -> dict[str, Any]:
        """What the file holds."""
        made_by = {"version": __version__, "host": socket.gethostname()}
        return {"result_version": VERSION, **asdict(self), **made_by}


def write_answers(result: Path | None, done: Path | None, told: JobResult, code_if_not: int) -> str | None:
    """Write the result, then, whatever came of that, the done file; what went wrong, if anything.

    Args:
        code_if_not: what the done file says where the result cannot be written.
    """
    wrong = None
    try:
        if result:
            write_atomic(result, (json.dumps(told.to_json(), indent=2) + "\n").encode())
    except TtsrError as error:
        wrong = str(error)
    try:
        if done:
            write_atomic(done, f"{code_if_not if wrong else told.exit_code}\n".encode())
    except TtsrError as error:
        wrong = wrong or str(error)
    return wrong

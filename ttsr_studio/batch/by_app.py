"""A job done by the running app, so that one engine is loaded for all: its files are uploaded, and its renders copied.

The other side is in docs/studio/app.md. Only an app of the same user on this machine is asked.
"""

import http.client
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import platformdirs

from ttsr_studio.batch.existing import is_replaced
from ttsr_studio.batch.outcome import CancelledError
from ttsr_studio.batch.plan import Job
from ttsr_studio.config import presets
from ttsr_studio.config.option_fields import held_by
from ttsr_studio.config.sidecar import sidecar
from ttsr_studio.errors import OutputError, TtsrError, shown
from ttsr_studio.report.lacking import is_orphan
from ttsr_studio.report.paths import beside, page_name, report_paths
from ttsr_studio.report.writing import begin_writing, end_writing, note_audio
from ttsr_studio.storage.atomic import hidden, publish
from ttsr_studio.storage.checksum import sha256

FOLDER = "jobs"
"""Below the root of the app, for what programs send."""
FIRST = 10
"""Priority: somebody sits and waits."""
NAMING_FILES = ("reference", "speaker", "chain")
LOOK_SECONDS, ANSWER_SECONDS = 0.4, 30.0


class AppGoneError(TtsrError):
    """The app does not answer, or not as it should; what is not done may be done here."""


@dataclass(frozen=True)
class RunningApp:
    """An app that runs: where it listens, its token, its root."""

    address: str
    token: str
    root: Path

    def ask(self, method: str, path: str, body: Any = None, file: Path | None = None) -> Any:
        """What it answers. Raises AppGoneError where it does not, TtsrError for what it refuses."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body).encode()
        where = urlsplit(self.address)
        link = http.client.HTTPConnection(where.hostname or "", where.port or 80, timeout=ANSWER_SECONDS)
        try:
            if file is None:
                link.request(method, where.path + path, content, headers)
            else:
                headers |= {"Content-Length": str(file.stat().st_size), "Content-Type": "application/octet-stream"}
                with file.open("rb") as stream:
                    link.request(method, where.path + path, stream, headers)
            answer = link.getresponse()
            told = json.loads(answer.read())
        except (http.client.HTTPException, ConnectionError, TimeoutError, ValueError) as error:
            raise AppGoneError(f"the app at {self.address} does not answer: {error}") from error
        finally:
            link.close()
        if answer.status in (401, 429, 500, 503):
            raise AppGoneError(f"the app at {self.address} refuses: {told.get('error')}")
        if answer.status >= 400:
            raise TtsrError(str(told.get("error")))
        return told


def running_app() -> RunningApp | None:
    """The app of this user that runs on this machine; None where none does, or it does not answer."""
    pointer = platformdirs.user_state_path("ttsr", appauthor=False) / "app.json"
    try:
        told = json.loads(pointer.read_text(encoding="utf-8"))
        token = Path(told["token_file"]).read_text(encoding="utf-8").strip()
        if urlsplit(told["address"]).scheme != "http":
            return None  # of others as well
        app = RunningApp(told["address"], token, Path(told["root"]))
        app.ask("GET", "api/uploads")
    except (OSError, ValueError, LookupError, TypeError, TtsrError):
        return None
    return app


def can_do(preset: str, options: Mapping[str, Any], jobs: Sequence[Job]) -> bool:
    """Whether an app takes all that a job sets: presets by name, no other files, no device, no sidecars of its own."""
    taken = preset in presets.available() and all(name in held_by("sidecar") for name in options)
    return taken and not set(NAMING_FILES) & set(options) and not any(sidecar(job.source).exists() for job in jobs)


@dataclass
class AppOutcome:
    """What became of one file: "rendered", "skipped", "failed" or "cancelled"."""

    job: Job
    status: str
    reason: str = ""
    told: dict[str, Any] = field(default_factory=dict)


class AppRun:
    """Files of a job on their way through the app.

    Args:
        values: options of all of them, by name.
        existing: what becomes of outputs that exist: "refuse", "overwrite" or "skip".
        cancel: a file by whose being there the job is called off.
    """

    def __init__(self, app: RunningApp, values: Mapping[str, Any], existing: str, cancel: Path | None) -> None:
        self.app, self.values, self.existing, self.cancel = app, values, existing, cancel
        self.asked: list[int] = []

    def send(self, job: Job) -> int:
        """Upload a file and have it rendered; its number. Raises AppGoneError, and TtsrError for a refusal."""
        where = f"api/uploads?name={quote(job.source.name, safe='')}&folder={FOLDER}"
        try:
            upload = self.app.ask("PUT", where, file=job.source)
        except OSError as error:
            raise TtsrError(f"{shown(job.source)}: cannot be read ({error.strerror})") from error
        told = self.app.ask("POST", "api/render", {"uploads": [upload["id"]], "values": self.values, "priority": FIRST})
        if told["refused"]:
            raise TtsrError(told["refused"][0]["reason"])
        self.asked.append(told["files"][0]["id"])
        return self.asked[-1]

    def look(self, number: int) -> dict[str, Any]:
        """Where a file is, after a moment. Raises CancelledError when the job was called off."""
        if self.cancel and self.cancel.exists():
            self.call_off()
            raise CancelledError("cancelled")
        time.sleep(LOOK_SECONDS)
        told: dict[str, Any] = self.app.ask("GET", f"api/files/{number}")
        return told

    def call_off(self) -> None:
        """Have the app leave all that was asked of it."""
        for number in self.asked:
            try:
                self.app.ask("POST", f"api/files/{number}/cancel", {})
            except TtsrError:
                continue

    def outcome(self, job: Job, told: Mapping[str, Any]) -> AppOutcome:
        """What became of a file that is over; its render is copied to where the job wants it."""
        reason = str(told["reason"] or "")
        if told["state"] == "done" and told["output"] and not reason.startswith("skipped: "):
            return AppOutcome(job, "rendered", told=self.fetch(job, self.app.root / told["output"]))
        if told["state"] == "done":
            return AppOutcome(job, "skipped", f"{shown(job.source)}: {reason.removeprefix('skipped: ')}")
        return AppOutcome(job, "failed", f"{shown(job.source)}: {reason or 'the app did not render it'}")

    def fetch(self, job: Job, made: Path) -> dict[str, Any]:
        """Copy a render, those beside it and its reports; what the result of the job says of them."""
        target, report = job.target, report_paths(made)[0]
        replace = self.existing == "overwrite" or is_replaced(target, True, self.existing == "skip")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            data = json.loads(report.read_text(encoding="utf-8"))
            begin_writing(target)
            names = {each["name"]: named_like(each["name"], made, target) for each in data["best"]}
            names.setdefault(made.name, target.name)
            for name, new in names.items():
                audio = target.with_name(new)
                copy_whole(made.with_name(name), audio, replace, partial(note_audio, target, audio))
            written = report_paths(target)
            data["output"]["name"] = target.name
            for each in data["best"]:
                each["name"] = names[each["name"]]
            part = hidden(written[0])
            part.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
            publish(part, written[0], replace=True)
            part.unlink(missing_ok=True)
            for old, path in zip(report_paths(made)[1:], written[1:], strict=True):
                copy_whole(old, path)
            old_page, page = page_name(made), page_name(target)
            if old_page.exists():
                copy_whole(old_page, page)
        except (OSError, ValueError, LookupError, OutputError) as error:
            raise AppGoneError(f"{shown(made)}: the app's render cannot be taken: {error}") from error
        finally:
            if not is_orphan(target):
                end_writing(target)
        return {
            "report": str(written[0]),
            "figure": str(written[1]),
            "page": str(page) if page.exists() else None,
            "top": [
                {"rank": each["rank"], "output": str(target.with_name(each["name"])), "score": each["score"]}
                for each in data["best"]
            ],
            "uncertain": data["uncertainty"]["regions"],
            "notices": data.get("notices", []),
            "seconds": data["timing"]["wall_s"],
        }


def copy_whole(
    source: Path, target: Path, replace: bool = True, ready: Callable[[str], None] = lambda checksum: None
) -> None:
    """Copy a file whole or not at all; `ready` is told its checksum before it gets its name."""
    part = hidden(target)
    try:
        shutil.copyfile(source, part)
        os.utime(part)
        ready(sha256(part))
        publish(part, target, replace)
    finally:
        part.unlink(missing_ok=True)


def named_like(name: str, made: Path, target: Path) -> str:
    """The name beside the target of what lies beside a render: `a_top2.wav` beside `a.wav`."""
    what = Path(name).stem.removeprefix(made.stem).lstrip("_")
    return beside(target, what).name if what else target.name

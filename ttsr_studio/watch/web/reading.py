"""What the page answers to those who only look: itself, what goes on, reports, audition pages, and renders."""

import json
import re
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ttsr_studio.config import presets
from ttsr_studio.errors import InputError, OptionError
from ttsr_studio.watch.queue.status import job_to_json
from ttsr_studio.watch.web.inspector import AuditionTask
from ttsr_studio.watch.web.sending import sent_file
from ttsr_studio.watch.web.site import Site
from ttsr_studio.watch.web.view import NOTHING_ELSE, as_json, content_of

HTML, JSON, PNG, TEXT = "text/html; charset=utf-8", "application/json", "image/png", "text/plain; charset=utf-8"
STATIC = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
OWN = f"{NOTHING_ELSE}; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'"
FRAMED = "frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
"""Of an audition page, which brings the rest of its policy with it."""

NUMBER = re.compile(r"[1-9][0-9]{0,17}")
ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#0b57a8"/>'
    b'<path d="M3 6v4M6 3v10M9 5v6M12 2v12" stroke="#fff" stroke-width="2" stroke-linecap="round"/></svg>'
)


class NothingError(Exception):
    """There is nothing at an address."""


class LookRoutes:
    """Answers those who look."""

    def __init__(self, site: Site) -> None:
        self.site, self.board = site, site.board
        self.pages = site.root.work / "auditions"

    def routes(self) -> list[BaseRoute]:
        own = files("ttsr_studio.watch.web").joinpath("static")
        served = {each.name: each.read_bytes() for each in own.iterdir() if Path(each.name).suffix in STATIC}
        page = own.joinpath("app.html").read_bytes()
        return [
            Route("/", lambda _: respond(HTML, page, OWN)),
            Route("/icon.svg", lambda _: respond("image/svg+xml", ICON)),
            *(Route(f"/static/{name}", static(Path(name).suffix, content)) for name, content in served.items()),
            Route("/status.json", lambda _: respond(JSON, self.board.status())),
            Route("/api/presets", self.presets),
            Route("/api/uploads", self.uploads, methods=["GET"]),
            Route("/api/files/{number}", self.file),
            Route("/report/{name}", self.report),
            Route("/audition/{number}", self.audition),
            Route("/files/{number}/{what}", self.sound),
        ]

    def presets(self, _request: Request) -> Response:
        """Names and descriptions of presets, and how many candidates each makes."""
        found = []
        for name, path in presets.available().items():
            with suppress(OptionError):
                values = presets.values_of(name)
                wanted = {key: values.get(key) for key in ("candidates", "budget")}
                found.append({"name": name, "description": presets.description(path), **wanted})
        return respond(JSON, as_json(found))

    def uploads(self, _request: Request) -> Response:
        return respond(JSON, as_json([self.site.told_upload(upload) for upload in self.site.uploads.all()]))

    def file(self, request: Request) -> Response:
        """Everything known of a file."""
        row = self.row(request)
        told = job_to_json(row)
        if told["reason"]:
            told["reason"] = self.board.plain_text(told["reason"])
        result: dict[str, Any] = {"links": {}, "others": {}, "facts": {}}
        with suppress(InputError):
            result = self.board.result_of(row, {})
        return respond(JSON, as_json(told | result))

    def report(self, request: Request) -> Response:
        number, dot, kind = request.path_params["name"].partition(".")
        if not NUMBER.fullmatch(number) or not dot or kind not in ("json", "png"):
            raise NothingError
        content = self.board.report(int(number), kind)
        if content is None:
            raise NothingError
        return respond(PNG if kind == "png" else JSON, content)

    def sound(self, request: Request) -> Response:
        """A render, to be kept."""
        row = self.row(request)
        path = self.board.sounds(row).get(request.path_params["what"])
        sent = None if path is None else sent_file(path, request.headers.get("range"))
        if sent is None:
            raise NothingError
        return sent

    def audition(self, request: Request) -> Response:
        """The audition page of a render, made when it is first asked for."""
        row = self.row(request)
        report, source = self.board.locate(row, "json"), self.board.source(row)
        output = self.board.sounds(row).get("render")
        if report is None or source is None or output is None:
            raise NothingError
        page = self.pages / f"{row.id}-{int(1000 * (row.finished_at or 0))}.html"
        if not page.is_file():
            self.pages.mkdir(parents=True, exist_ok=True)
            self.site.inspector.ask(AuditionTask(source, output, report, page, row.id))
            for old in self.pages.glob(f"{row.id}-*.html"):
                if old != page:
                    old.unlink(missing_ok=True)
        content = content_of(page)
        if content is None:
            raise NothingError
        return respond(HTML, content, FRAMED, {"X-Frame-Options": "SAMEORIGIN"})

    def row(self, request: Request) -> Any:
        number = request.path_params["number"]
        row = self.board.row(int(number)) if NUMBER.fullmatch(number) else None
        if row is None:
            raise NothingError
        return row


def static(suffix: str, content: bytes) -> Any:
    return lambda _: respond(STATIC[suffix], content)


def respond(
    kind: str, content: bytes, policy: str | None = None, headers: dict[str, str] | None = None, code: int = 200
) -> Response:
    """What a client gets."""
    own = {"Content-Security-Policy": policy} if policy else {}
    return Response(content, code, {"Content-Type": kind, **own, **(headers or {})})


def in_json(values: Any, code: int = 200) -> Response:
    """Values as JSON."""
    return respond(JSON, json.dumps(values).encode() + b"\n", code=code)

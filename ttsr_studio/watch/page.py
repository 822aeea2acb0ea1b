"""The page of a watched tree: what goes on and what came of it, to look at and for nothing else.

Everything it serves is read from the database and from the reports of finished files, which are asked for by their
number in the database. It has no password, so it tells no paths outside the root, and it answers only those who call it
by an address of this machine: a site elsewhere whose name is made to point here gets nothing.
"""

import base64
import hashlib
import ipaddress
import json
import os
import re
import socket
import socketserver
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any

from ttsr_studio.errors import TtsrError, shown
from ttsr_studio.report.record import report_names
from ttsr_studio.watch.ledger import Entry, Ledger
from ttsr_studio.watch.status import in_a_few_words, status_of
from ttsr_studio.watch.tree import Tree, regular

MANY = 20
"""Files of a kind that the page shows."""

FRESH_SECONDS = 1.0
"""For so long everybody gets the same status, however many look."""

SILENT_SECONDS, LONGEST_SECONDS = 10.0, 60.0
"""A client may say nothing, and take for an answer, so long."""

MOST_CLIENTS = 64
MOST_BYTES = 256_000_000
"""Of a report."""

REPORT = re.compile(r"/report/([1-9][0-9]{0,17})\.(json|png)")
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
ABSOLUTE = re.compile(r"(https?://\S+)|(?<![^\s'\"(\[{=:,;|/])/(?:[^/\s'\":;,()]+/)*(?=[^/\s])")

ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#0b57a8"/>'
    b'<path d="M3 6v4M6 3v10M9 5v6M12 2v12" stroke="#fff" stroke-width="2" stroke-linecap="round"/></svg>'
)
HTML, JSON, PNG, TEXT = "text/html; charset=utf-8", "application/json", "image/png", "text/plain; charset=utf-8"
ALWAYS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
NOTHING_ELSE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
BROKEN = (TtsrError, OSError, sqlite3.Error, ValueError, TypeError, LookupError, AttributeError, RuntimeError)
"""What a damaged database or report may lead to."""


@contextmanager
def serve_page(tree: Tree, host: str, port: int) -> Iterator[str]:
    """Serve the page of a tree while entered; gives its address. Raises OSError when it cannot be had."""
    with Server(tree, host, port) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield server.address
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Answer:
    """What a client gets: status code, content type and body."""

    code: int
    kind: str = TEXT
    body: bytes = b""
    policy: str = NOTHING_ELSE


class Server(ThreadingHTTPServer):
    """Answers every client in a thread of its own, for a limited time.

    Args:
        host, port: to listen at; port 0 for any that is free.
    """

    def __init__(self, tree: Tree, host: str, port: int) -> None:
        self.host, self.board = host, Board(tree, local=is_loopback(host))
        self.template, self.policy = template()
        self.since: dict[Any, float] = {}
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        self.address_family = found[0]
        super().__init__(found[4][:2], Handler)  # type: ignore[arg-type]

    def server_bind(self) -> None:
        """Take the port, without the question for this machine's name that would follow."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, self.server_address[1]

    @property
    def address(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.server_port}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        if len(self.since) >= MOST_CLIENTS:
            self.shutdown_request(request)
            return
        self.since[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.since.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Close connections that are open for too long."""
        for request, since in list(self.since.items()):
            if time.monotonic() - since > LONGEST_SECONDS:
                with suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client went away."""

    def is_called(self, names: list[str]) -> bool:
        """Whether the Host header of a request names this machine, as it was told to be named."""
        match = HOST.fullmatch(names[0].strip().lower()) if len(names) == 1 else None
        if match is None:
            return False
        name = match[1].strip("[]").removesuffix(".")
        if name == self.host.lower() or is_loopback(name):
            return True
        if self.host not in ("0.0.0.0", "::"):
            return False
        return is_address(name) or name == socket.gethostname().lower()


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Server
    timeout = SILENT_SECONDS

    def do_GET(self) -> None:
        self.send(self.answer())

    def do_HEAD(self) -> None:
        self.send(self.answer())

    def answer(self) -> Answer:
        """What to answer."""
        if not self.server.is_called(self.headers.get_all("Host") or []):
            return Answer(403, body=b"This page answers only to the address it is served at.\n")
        path = self.path.partition("?")[0]
        try:
            return self.found(path) or Answer(404, body=b"There is nothing here.\n")
        except BROKEN as error:
            why = self.server.board.plain_text(" ".join(str(error).split())) or type(error).__name__
            return as_json({"error": f"cannot be read: {why}"}, 503)

    def found(self, path: str) -> Answer | None:
        """What is at a path, None when nothing is."""
        board = self.server.board
        if path == "/":
            return Answer(200, HTML, self.server.template, self.server.policy)
        if path == "/status.json":
            return Answer(200, JSON, board.status())
        if path == "/icon.svg":
            return Answer(200, "image/svg+xml", ICON)
        match = REPORT.fullmatch(path)
        return board.report(int(match[1]), match[2]) if match else None

    def send(self, answer: Answer) -> None:
        self.send_response(answer.code)
        for name, value in ALWAYS.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", answer.policy)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Connection", "close")
        if answer.code == 405:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no request that this page takes."""
        self.close_connection = True
        if code == 501:
            self.send(Answer(405, body=b"This page is only to look at: GET and HEAD.\n"))
        else:
            self.send(Answer(code, body=b"This is no request.\n"))

    def version_string(self) -> str:
        return "ttsr"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is the service's."""


class Board:
    """What the page shows of a tree.

    Args:
        local: whether only this machine can see it; others are not told where the root lies.
    """

    def __init__(self, tree: Tree, local: bool) -> None:
        self.tree, self.local = tree, local
        self.lock = threading.Lock()
        self.made, self.made_at = b"", -FRESH_SECONDS
        self.words: dict[tuple[int, int, int], dict[str, str]] = {}

    def status(self) -> bytes:
        """The status as JSON, not older than a moment."""
        with self.lock:
            if not self.made or time.monotonic() - self.made_at >= FRESH_SECONDS:
                self.made = as_json(self.read()).body
                self.made_at = time.monotonic()
            return self.made

    def read(self) -> dict[str, Any]:
        """The status now: what `ttsr watch --status` says, with links to reports and what they say in a few words."""
        with closing(Ledger(self.tree.database, view=True)) as queue:
            status = status_of(self.tree, queue, MANY)
            words: dict[tuple[int, int, int], dict[str, str]] = {}
            for row in status["done"]:
                told = queue.get(row["id"])
                if told is not None:
                    row |= self.told(told, words)
        self.words = words
        for row in (status, *status["running"], *status["failed"], *status["waiting_files"], *status["done"]):
            for name in ("paused", "waiting", "reason"):
                if row.get(name):
                    row[name] = self.plain_text(row[name])
        return status | {"root": shown(self.tree.root) if self.local else None, "at": time.time(), "many": MANY}

    def told(self, row: Entry, words: dict[tuple[int, int, int], dict[str, str]]) -> dict[str, Any]:
        """Links to what a finished file has, and what its report says; `words` keeps that for the next time."""
        links, facts = {}, {}
        for kind, name in (("json", "report"), ("png", "picture")):
            path = self.locate(row, kind)
            there = None if path is None else regular(path)
            if path is None or there is None:
                continue
            links[name] = f"/report/{row.id}.{kind}?at={row.finished_at or 0:.0f}"
            if kind == "json":
                key = row.id, there.st_mtime_ns, there.st_size
                facts = words[key] = self.words[key] if key in self.words else facts_of(path)
        return {"links": links, "facts": facts}

    def report(self, number: int, kind: str) -> Answer | None:
        """The report of a finished file, by its number; None when there is none."""
        with closing(Ledger(self.tree.database, view=True)) as queue:
            row = queue.get(number)
        path = None if row is None else self.locate(row, kind)
        content = None if path is None else content_of(path)
        if content is None:
            return None
        return Answer(200, PNG, content) if kind == "png" else as_json(self.without_paths(json.loads(content)))

    def locate(self, row: Entry, kind: str) -> Path | None:
        """Where a report of a finished file lies; None where it would lie outside the folder of renders."""
        if row.state != "done" or not row.output or not row.report:
            return None
        try:
            name = Path(row.report) if kind == "json" else report_names(Path(row.output))[1]
            path = (self.tree.root / name).resolve()
            return path if path.is_relative_to(self.tree.renders.resolve()) else None
        except (ValueError, RuntimeError):  # no name at all; links that lead in circles
            return None

    def plain_text(self, text: str) -> str:
        """A text that names no place outside the root, nor the root's own."""
        return ABSOLUTE.sub(lambda match: match[1] or "…/", self.tree.name(text))

    def without_paths(self, value: Any) -> Any:
        """JSON with every text as `plain_text` has it."""
        if isinstance(value, dict):
            return {key: self.without_paths(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.without_paths(item) for item in value]
        return self.plain_text(value) if isinstance(value, str) else value


def content_of(path: Path) -> bytes | None:
    """What a regular file holds, None when there is none of a size that a report has."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
            return None
        with open(handle, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(handle)


def facts_of(path: Path) -> dict[str, str]:
    """What a report says in a few words; nothing when it cannot be read."""
    try:
        return in_a_few_words(json.loads(content_of(path) or b""))
    except (ArithmeticError, *BROKEN):
        return {}


def as_json(value: Any, code: int = 200) -> Answer:
    return Answer(code, JSON, json.dumps(value).encode() + b"\n")


def template() -> tuple[bytes, str]:
    """The page, and the policy under which it works: its own style and script, by their checksums, and its own data."""
    text = files("ttsr_studio.watch").joinpath("page.html").read_text(encoding="utf-8")
    sums = {}
    for tag in ("style", "script"):
        inside = re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert inside
        sums[tag] = base64.b64encode(hashlib.sha256(inside[1].encode()).digest()).decode()
    own = "; ".join(f"{tag}-src 'sha256-{found}'" for tag, found in sums.items())
    return text.encode(), f"{NOTHING_ELSE}; img-src 'self'; connect-src 'self'; {own}"


def is_loopback(name: str) -> bool:
    """Whether a host is this machine seen from itself."""
    return name.lower() == "localhost" or (is_address(name) and ipaddress.ip_address(name).is_loopback)


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

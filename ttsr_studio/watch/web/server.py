"""The page of a watched root: what goes on and what came of it, to look at and for nothing else.

Everything it serves is read from the database and from the reports of finished files, which are asked for by their
number in the database. It has no password, so it tells no paths outside the root, and it answers only those who call it
by an address of this machine: a site elsewhere whose name is made to point here gets nothing.

It is made with `http.server`: servers for WSGI limit how long a client is silent, not how long it takes in all.
"""

import base64
import hashlib
import ipaddress
import re
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

from ttsr_studio.watch.filesystem.root import Root
from ttsr_studio.watch.web.view import BROKEN, HTML, JSON, NOTHING_ELSE, Response, StatusBoard, as_json

SILENT_SECONDS, LONGEST_SECONDS = 10.0, 60.0
"""A client may say nothing, and take for an answer, so long."""

MOST_CLIENTS = 64

REPORT = re.compile(r"/report/([1-9][0-9]{0,17})\.(json|png)")
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")

ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#0b57a8"/>'
    b'<path d="M3 6v4M6 3v10M9 5v6M12 2v12" stroke="#fff" stroke-width="2" stroke-linecap="round"/></svg>'
)
ALWAYS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@contextmanager
def serve_page(root: Root, host: str, port: int, names: tuple[str, ...] = ()) -> Iterator[str]:
    """Serve the page of a root while entered; gives its address. Raises OSError when it cannot be had."""
    with Server(root, host, port, names) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield server.address
        finally:
            server.shutdown()
            thread.join()


class Server(ThreadingHTTPServer):
    """Answers every client in a thread of its own, for a limited time.

    Args:
        host, port: to listen at; port 0 for any that is free.
        names: further names of hosts by which it may be called, as behind a proxy; others see it then.
    """

    def __init__(self, root: Root, host: str, port: int, names: tuple[str, ...] = ()) -> None:
        self.host, self.names = host, {name.lower() for name in names}
        self.board = StatusBoard(root, local=is_loopback(host) and not names)
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
        if name == self.host.lower() or name in self.names or is_loopback(name):
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

    def answer(self) -> Response:
        """What to answer."""
        if not self.server.is_called(self.headers.get_all("Host") or []):
            return Response(403, body=b"This page answers only to the address it is served at.\n")
        path = self.path.partition("?")[0]
        try:
            return self.response_at(path) or Response(404, body=b"There is nothing here.\n")
        except BROKEN as error:
            why = self.server.board.plain_text(" ".join(str(error).split())) or type(error).__name__
            return as_json({"error": f"cannot be read: {why}"}, 503)

    def response_at(self, path: str) -> Response | None:
        """What is at a path, None when nothing is."""
        board = self.server.board
        if path == "/":
            return Response(200, HTML, self.server.template, self.server.policy)
        if path == "/status.json":
            return Response(200, JSON, board.status())
        if path == "/icon.svg":
            return Response(200, "image/svg+xml", ICON)
        match = REPORT.fullmatch(path)
        return board.report(int(match[1]), match[2]) if match else None

    def send(self, response: Response) -> None:
        self.send_response(response.code)
        for name, value in ALWAYS.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", response.policy)
        self.send_header("Content-Type", response.kind)
        self.send_header("Content-Length", str(len(response.body)))
        self.send_header("Connection", "close")
        if response.code == 405:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no request that this page takes."""
        self.close_connection = True
        if code == 501:
            self.send(Response(405, body=b"This page is only to look at: GET and HEAD.\n"))
        else:
            self.send(Response(code, body=b"This is no request.\n"))

    def version_string(self) -> str:
        return "ttsr"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is the service's."""


def template() -> tuple[bytes, str]:
    """The page, and the policy under which it works: its own style and script, by their checksums, and its own data."""
    text = files("ttsr_studio.watch.web").joinpath("page.html").read_text(encoding="utf-8")
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

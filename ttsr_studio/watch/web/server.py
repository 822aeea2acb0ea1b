"""The page of a watched root: drop, hear, choose. It shows what the queue has and tells it what people want; what is
rendered, when and by whom stays with the queue and the service.

It is served by uvicorn, in a thread of the service. Reading is open on this machine; to change something takes the
token; see `guard` for who may, `patience` for how long, `uploads` and `landing` for what comes in.
"""

import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import platformdirs
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from ttsr_studio.errors import InputError, OptionError, OutputError
from ttsr_studio.storage.atomic import write_atomic
from ttsr_studio.watch.context import ServiceContext
from ttsr_studio.watch.web.changing import ChangeRoutes, TooLargeError
from ttsr_studio.watch.web.guard import Guard
from ttsr_studio.watch.web.options import PageOptions
from ttsr_studio.watch.web.patience import PatientProtocol
from ttsr_studio.watch.web.reading import LookRoutes, NothingError, in_json
from ttsr_studio.watch.web.site import Site
from ttsr_studio.watch.web.uploads import FullError
from ttsr_studio.watch.web.view import BROKEN

MOST_HEAD = 32_768
"""Bytes of the head of a request."""

CODES = {FullError: 507, OptionError: 400, InputError: 409, OutputError: 409, TooLargeError: 413}


@contextmanager
def serve_page(context: ServiceContext) -> Iterator[str]:
    """Serve the page of a service while entered; gives its address.

    Raises OSError when its port cannot be had, OptionError where its token cannot be kept to itself.
    """
    page = context.options.page
    assert page
    page.refuse_exposed()
    site = Site.of(context, page)
    with closing(listening(page)) as own, closing(site.inspector):
        address = address_of(page, own.getsockname()[1])
        say_token(site, address)
        with running(site, own), pointed_at(site, address):
            yield address


def listening(page: PageOptions) -> socket.socket:
    """A socket that takes connections from now on. Raises OSError."""
    found = socket.getaddrinfo(page.host, page.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    own = socket.socket(found[0], found[1])
    try:
        if os.name == "posix":  # elsewhere it would let two programs have one port
            own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own.bind(found[4][:2])
        own.listen()
    except BaseException:
        own.close()
        raise
    return own


def address_of(page: PageOptions, port: int) -> str:
    host = f"[{page.host}]" if ":" in page.host else page.host
    return f"{'https' if page.certificate else 'http'}://{host}:{port}/"


@contextmanager
def running(site: Site, own: socket.socket) -> Iterator[None]:
    """Answer at a socket while entered."""
    quiet()
    certificate, key = site.page.certificate or (None, None)
    config = uvicorn.Config(
        Guard(application(site), site.page, site.token, site.context.log),
        http=PatientProtocol, ws="none", lifespan="off", loop="asyncio", log_config=None, access_log=False,
        proxy_headers=False, server_header=False, h11_max_incomplete_event_size=MOST_HEAD, timeout_keep_alive=5,
        timeout_graceful_shutdown=2, ssl_certfile=certificate, ssl_keyfile=None if key is None else str(key),
    )  # fmt: skip
    config.load()
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [own]}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def quiet() -> None:
    """Let uvicorn say nothing: the terminal is the service's."""
    logger = logging.getLogger("uvicorn")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def application(site: Site) -> Starlette:
    """Everything that the page answers, to those whom the guard lets in."""

    def refused(_request: Request, error: Exception) -> Response:
        code = next((code for kind, code in CODES.items() if isinstance(error, kind)), 503)
        line = site.board.plain_text(" ".join(str(error).split())) or type(error).__name__
        return in_json({"error": line if code != 503 else f"cannot be read: {line}"}, code)

    def nothing(_request: Request, _error: Exception) -> Response:
        return PlainTextResponse("There is nothing here.\n", 404)

    handlers: dict[Any, Any] = dict.fromkeys((*BROKEN, *CODES), refused)
    handlers |= {NothingError: nothing, 404: nothing, ClientDisconnect: nothing}
    made = Starlette(routes=[*LookRoutes(site).routes(), *ChangeRoutes(site).routes()], exception_handlers=handlers)
    made.router.redirect_slashes = False
    return made


def say_token(site: Site, address: str) -> None:
    """Show a token that was made just now, once, to whoever started the service; no log keeps it."""
    if not site.token.made:
        return
    if site.page.show_token:
        site.context.log.listener("token", {"address": link(address, site.token.text), "kept in": str(site.token.path)})
    else:
        site.context.log("token", reason="made; the page asks for it before it changes anything", path=site.token.path)


def link(address: str, token: str) -> str:
    """The address by which a browser gets the token; what is behind "#" is not sent to any server."""
    return f"{address}#token={token}"


@contextmanager
def pointed_at(site: Site, address: str) -> Iterator[None]:
    """Leave the address where programs of this user find it, such as scripts of a DAW, while entered."""
    pointer = pointer_path()
    content = {"address": address, "root": str(site.root.path), "token_file": str(site.token.path), "pid": os.getpid()}
    if site.page.local:
        with suppress(OSError, OutputError):
            pointer.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(pointer, json.dumps(content).encode() + b"\n")
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            if json.loads(pointer.read_text(encoding="utf-8")) == content:
                pointer.unlink()


def pointer_path() -> Path:
    """Where the address of the page that was started last is."""
    return platformdirs.user_state_path("ttsr", appauthor=False) / "app.json"

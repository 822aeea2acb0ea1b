"""Who may ask the page for what: who calls it by this machine's name, and to change something, who has the token.

Everything is decided from the head of a request, before any of its body is read.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers, QueryParams
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ttsr_studio.watch.web.options import PageOptions, is_loopback, name_in
from ttsr_studio.watch.web.token import Token
from ttsr_studio.watch.web.view import NOTHING_ELSE

LOOKS = ("GET", "HEAD")
ALWAYS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": NOTHING_ELSE,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
SOUND = ("/audition/", "/files/", "/api/uploads")
"""What is not only told of sound but is sound: elsewhere than on this machine it takes the token, too."""

Log = Callable[..., None]


class Guard:
    """Stands before the page, and lets in who may.

    Args:
        app: what it stands before.
        log: is told of events.
    """

    def __init__(self, app: ASGIApp, page: PageOptions, token: Token, log: Log) -> None:
        self.app, self.page, self.token, self.log = app, page, token, log
        self.told = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self.refusal(scope) if scope["type"] == "http" else PlainTextResponse("", 404)
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        await (refused or self.app)(scope, receive, with_headers(send))

    def refusal(self, scope: Scope) -> Response | None:
        """What a request gets that may not come in; None for one that may."""
        headers, method = Headers(scope=scope), scope["method"]
        if not self.page.is_called(headers.getlist("host")):
            return PlainTextResponse("This page answers only to the address it is served at.\n", 403)
        if b"%" in scope.get("raw_path", b"") or b"\\" in scope.get("raw_path", b""):
            return PlainTextResponse("There is nothing here.\n", 404)
        if self.is_of_another_site(headers, method):
            return turned_away("asked for by another site", 403)
        if method in LOOKS and (self.page.local or not scope["path"].startswith(SOUND)):
            return None
        if method in LOOKS and self.has_ticket(scope):
            return None
        if not self.is_private(scope, headers):
            return turned_away("the token is not taken over plain HTTP; call this page by https", 403)
        return None if self.token.is_known(token_in(headers)) else self.unknown()

    def is_of_another_site(self, headers: Headers, method: str) -> bool:
        """Whether a browser asks on behalf of another site's page; following a link to here is no such thing."""
        origins, sites = headers.getlist("origin"), headers.getlist("sec-fetch-site")
        if origins and (len(origins) > 1 or origins[0].lower() not in self.own_origins(headers)):
            return True
        if not sites or sites in (["same-origin"], ["none"]):
            return False
        followed = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        return not (method in LOOKS and followed)

    @staticmethod
    def own_origins(headers: Headers) -> tuple[str, str]:
        host = headers["host"].strip().lower()
        return f"http://{host}", f"https://{host}"

    def is_private(self, scope: Scope, headers: Headers) -> bool:
        """Whether nobody on the way can read the token: over TLS, or on this machine alone."""
        if scope["scheme"] == "https" or is_loopback(name_in(headers.getlist("host")) or ""):
            return True
        return headers.getlist("x-forwarded-proto") == ["https"] and (self.page.behind_proxy or bool(self.page.names))

    def has_ticket(self, scope: Scope) -> bool:
        given = QueryParams(scope["query_string"]).getlist("ticket")
        return len(given) == 1 and self.token.is_ticket(scope["path"], given[0])

    def unknown(self) -> Response:
        """What somebody gets whose token is none."""
        if not self.token.guessed_at:
            self.told = False
            return turned_away("this takes the token of this service", 401, {"WWW-Authenticate": "Bearer"})
        if not self.told:
            self.told = True
            self.log("token guessed at", reason="many requests with a wrong token came to the page")
        return turned_away("too many wrong tokens; wait a minute", 429, {"Retry-After": "60"})


def token_in(headers: Headers) -> str | None:
    """The token that a request brings, None without one."""
    given = headers.getlist("authorization")
    return given[0][7:].strip() if len(given) == 1 and given[0][:7].lower() == "bearer " else None


def turned_away(reason: str, code: int, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": reason}, code, headers)


def with_headers(send: Send) -> Callable[[MutableMapping[str, Any]], Awaitable[None]]:
    """Have every answer carry the headers that all have, unless it has its own."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message["headers"]}
            more = [(name.lower().encode(), value.encode()) for name, value in ALWAYS.items()]
            message["headers"] = [*message["headers"], *(pair for pair in more if pair[0] not in there)]
        await send(message)

    return sent

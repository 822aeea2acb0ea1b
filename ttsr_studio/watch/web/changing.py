"""What the page does for those with the token: take uploads, say how long they would take, and steer the queue."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import tomlkit
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ttsr_studio.errors import OptionError, TtsrError, shown, unknown
from ttsr_studio.options import RenderOptions
from ttsr_studio.watch.publish import cancel_files
from ttsr_studio.watch.queue.jobs import Queue
from ttsr_studio.watch.queue.status import job_to_json
from ttsr_studio.watch.queue.store import JobRecord
from ttsr_studio.watch.web.guard import SOUND
from ttsr_studio.watch.web.landing import refuse_unsettable
from ttsr_studio.watch.web.reading import NUMBER, NothingError, in_json
from ttsr_studio.watch.web.site import Site
from ttsr_studio.watch.web.uploads import Upload

MOST_WORDS = 100_000
"""Bytes of a request that is no upload."""

BLOCK = 1 << 20
MOST_PRIORITY = 1_000_000

Body = Mapping[str, Any]
Act = Callable[[Request, Body], Any]


class TooLargeError(Exception):
    """More than is taken; the text says of what."""


class ChangeRoutes:
    """Answers those who change something; the guard has seen their token."""

    def __init__(self, site: Site) -> None:
        self.site, self.context, self.root = site, site.context, site.root

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/uploads", self.upload, methods=["PUT"]),
            Route("/api/uploads/{id}", self.act(self.remove), methods=["DELETE"]),
            Route("/api/estimate", self.act(self.estimate), methods=["POST"]),
            Route("/api/render", self.act(self.render), methods=["POST"]),
            Route("/api/ticket", self.act(self.ticket), methods=["POST"]),
            Route("/api/pause", self.act(self.pause), methods=["POST"]),
            Route("/api/resume", self.act(self.resume), methods=["POST"]),
            Route("/api/retry", self.act(self.retry_all), methods=["POST"]),
            Route("/api/files/{number}/cancel", self.act(self.cancel), methods=["POST"]),
            Route("/api/files/{number}/retry", self.act(self.retry), methods=["POST"]),
            Route("/api/files/{number}/priority", self.act(self.priority), methods=["POST"]),
            Route("/api/files/{number}/again", self.act(self.again), methods=["POST"]),
        ]

    def act(self, step: Act) -> Callable[[Request], Any]:
        """An endpoint that does a step with what a request says."""

        async def endpoint(request: Request) -> Response:
            body = {} if request.method == "DELETE" else await json_of(request)
            return in_json(await run_sync(step, request, body))

        return endpoint

    # Uploads

    async def upload(self, request: Request) -> Response:
        """Take a file, whole or not at all."""
        query, size = request.query_params, request.headers.get("content-length", "")
        refuse_keys(query, ("name", "folder"))
        if not size.isdecimal() or len(size) > 18:
            raise OptionError("an upload needs its length in bytes, Content-Length")
        if int(size) > self.site.page.most_upload:
            most = f"{self.site.page.most_upload / 1e9:g} GB"
            raise TooLargeError(f"{shown(Path(query.get('name', '')))}: larger than {most}, --most-upload")
        if int(size) == 0:
            raise OptionError(f"{shown(Path(query.get('name', '')))}: empty")
        uploads = self.site.uploads
        upload = await run_sync(uploads.begin, query.get("name", ""), query.get("folder", ""), int(size))
        try:
            await self.receive(request, uploads.partial(upload), int(size))
            await run_sync(uploads.finish, upload)
        except BaseException:
            uploads.remove(upload)
            raise
        self.context.log("uploaded", file=shown(Path(upload.folder, upload.name)), bytes=upload.size)
        return in_json(self.site.told_upload(upload), 201)

    @staticmethod
    async def receive(request: Request, path: Path, size: int) -> None:
        """Write the body of a request, and sync it. Raises OptionError where it is not of that length."""
        written, block = 0, bytearray()
        with path.open("xb") as file:
            async for part in request.stream():
                written += len(part)
                block += part
                if len(block) >= BLOCK:
                    await run_sync(file.write, bytes(block))
                    block.clear()
            file.write(block)
            file.flush()
            await run_sync(os.fsync, file.fileno())
        if written != size:
            raise OptionError(f"{written} of {size} bytes came; upload it again")

    def remove(self, request: Request, _body: Body) -> Any:
        self.site.uploads.remove(self.staged(request.path_params["id"]))
        return {}

    def staged(self, number: Any) -> Upload:
        upload = self.site.uploads.get(str(number))
        if upload is None:
            raise NothingError
        return upload

    # How long, and to the queue

    def estimate(self, _request: Request, body: Body) -> Any:
        """How long uploads, or files that are known, would take with these options, each and all together."""
        refuse_keys(body, ("uploads", "files", "values"))
        values = settable(body)
        groups: dict[RenderOptions, list[tuple[str | int, Path]]] = {}
        for number in ids_in(body, "uploads", str):
            upload = self.staged(number)
            options = self.site.landing.options(str(Path(upload.folder, upload.name)), values)
            groups.setdefault(options, []).append((upload.id, self.site.uploads.path(upload)))
        for number in ids_in(body, "files", int):
            row = self.row_of(str(number))
            options = self.site.landing.options(row.path, self.site.landing.merged(row, values).unwrap())
            groups.setdefault(options, []).append((row.id, self.site.board.source(row) or self.root.path / row.path))
        found: list[dict[str, Any]] = []
        basis = None
        for options, items in groups.items():
            estimate = self.site.inspector.estimate([path for _, path in items], options, self.root.path)
            basis = estimate.basis
            for (number, _), length, seconds in zip(items, estimate.lengths, estimate.render_s, strict=True):
                reason = length.reason and self.site.board.plain_text(length.reason)
                about = {"seconds": length.seconds, "channels": length.channels, "reason": reason}
                found.append({"id": number, **about, "render_s": seconds})
                if isinstance(number, str):
                    self.site.lengths[number] = found[-1]
        known = [each["render_s"] for each in found if each["render_s"] is not None]
        return {"files": found, "total_s": sum(known) if known else None, "basis": basis}

    def render(self, _request: Request, body: Body) -> Any:
        """Have uploads rendered: they land as stems below the root, and the queue is told."""
        refuse_keys(body, ("uploads", "values", "priority"))
        values, priority = settable(body), whole_number_in(body, "priority") if "priority" in body else None
        landed, refused = [], []
        for number in ids_in(body, "uploads", str):
            upload = self.staged(number)
            try:
                row = self.site.landing.land(upload, values, priority)
            except TtsrError as error:
                refused.append({"upload": upload.id, "reason": self.site.board.plain_text(str(error))})
                continue
            about = self.site.lengths.pop(upload.id, {})
            if about.get("render_s") is not None:
                self.site.board.told[row.path] = about["render_s"]
            landed.append(job_to_json(row))
        return {"files": landed, "refused": refused}

    # The queue

    def row_of(self, number: str) -> JobRecord:
        row = self.site.board.row(int(number)) if NUMBER.fullmatch(number) else None
        if row is None:
            raise NothingError
        return row

    def queue(self) -> closing[Queue]:
        return closing(self.context.open_queue())

    def cancel(self, request: Request, body: Body) -> Any:
        refuse_keys(body, ())
        row = self.row_of(request.path_params["number"])
        with self.queue() as queue:
            cancelled = cancel_files(self.root, queue, [row.path], "on the page")
        return {"changed": len(cancelled)}

    def retry(self, request: Request, body: Body) -> Any:
        refuse_keys(body, ())
        return self.tried_again([self.row_of(request.path_params["number"]).path])

    def retry_all(self, _request: Request, body: Body) -> Any:
        refuse_keys(body, ())
        return self.tried_again(None)

    def tried_again(self, paths: Sequence[str] | None) -> Any:
        with self.queue() as queue:
            count = queue.retry(paths)
        self.context.wake.everyone()
        return {"changed": count}

    def priority(self, request: Request, body: Body) -> Any:
        refuse_keys(body, ("priority",))
        row, number = self.row_of(request.path_params["number"]), whole_number_in(body, "priority")
        with self.queue() as queue:
            return {"changed": queue.prioritise([row.path], number)}

    def again(self, request: Request, body: Body) -> Any:
        """Have a file rendered with other options; None takes one out of its sidecar."""
        refuse_keys(body, ("values",))
        row = self.row_of(request.path_params["number"])
        self.site.board.told.pop(row.path, None)
        return job_to_json(self.site.landing.again(row, settable(body)))

    def ticket(self, _request: Request, body: Body) -> Any:
        """What opens an address of sound without the token, for a minute."""
        refuse_keys(body, ("path",))
        path = str(body.get("path", ""))
        if not path.startswith(SOUND) or "?" in path:
            raise OptionError("path: the address of something to hear, without its query")
        return {"ticket": self.site.token.ticket(path)}

    def pause(self, _request: Request, body: Body) -> Any:
        refuse_keys(body, ("reason",))
        reason = body.get("reason", "paused on the page")
        if not isinstance(reason, str) or not 0 < len(reason) <= 200:
            raise OptionError("reason: a text of at most 200 letters")
        with self.queue() as queue:
            queue.pause(reason)
        return {"paused": reason}

    def resume(self, _request: Request, body: Body) -> Any:
        refuse_keys(body, ())
        with self.queue() as queue:
            queue.pause(None)
        self.context.wake.everyone()
        return {"paused": None}


async def json_of(request: Request) -> Body:
    """What a request says, a JSON object. Raises OptionError for anything else, TooLargeError."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise OptionError("Content-Type: application/json is what this takes")
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > MOST_WORDS:
            raise TooLargeError(f"more than {MOST_WORDS} bytes of JSON")
    try:
        body = json.loads(content or b"{}")
    except (ValueError, RecursionError) as error:
        raise OptionError(f"not JSON: {error}") from error
    if not isinstance(body, dict):
        raise OptionError("a JSON object is what this takes")
    return body


def refuse_keys(body: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise OptionError for a key that is not known."""
    for key in body:
        if key not in known:
            raise OptionError(str(unknown("key", key, known)) if known else f"{key}: nothing is taken here")


def settable(body: Body) -> dict[str, Any]:
    """Options that a request sets. Raises OptionError for what is none, or cannot be set by a page."""
    values = body.get("values", {})
    if not isinstance(values, dict):
        raise OptionError("values: options by name, a JSON object")
    refuse_unsettable(values)
    try:
        tomlkit.dumps({key: value for key, value in values.items() if value is not None})
    except (ValueError, TypeError) as error:
        raise OptionError(f"values: {error}") from error
    return values


def ids_in(body: Body, key: str, kind: type) -> list[Any]:
    """A list in a request. Raises OptionError for another value."""
    found = body.get(key, [])
    right = isinstance(found, list) and all(isinstance(each, kind) and not isinstance(each, bool) for each in found)
    if not right or len(found) > 1000:
        raise OptionError(f"{key}: a list of at most 1000 of their ids")
    return list(dict.fromkeys(found))


def whole_number_in(body: Body, key: str) -> int:
    """A whole number in a request. Raises OptionError for another value."""
    value = body.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > MOST_PRIORITY:
        raise OptionError(f"{key}: a whole number from -{MOST_PRIORITY} to {MOST_PRIORITY}")
    return value

"""Keeps the page up for as long as a service runs."""

import contextlib
from collections.abc import Callable
from contextlib import ExitStack
from enum import Enum, auto

from ttsr_studio.watch.context import ServiceContext
from ttsr_studio.watch.filesystem.root import Root

Page = Callable[[Root, str, int, tuple[str, ...]], contextlib.AbstractContextManager[str]]
"""Serves a page of a root at a host and port, by further names, while it is entered; gives its address."""


class PageState(Enum):
    """Whether the page is there."""

    UNTRIED = auto()
    REFUSED = auto()
    SERVED = auto()


class PageKeeper:
    """Serves a page, where there is to be one; while another service has its port, this is tried again and again."""

    def __init__(self, context: ServiceContext, page: Page | None) -> None:
        self.context, self.page = context, page
        self.stack = ExitStack()
        self.state = PageState.UNTRIED

    def try_to_serve(self) -> None:
        """Serve the page if it is not served yet; a refusal is said once."""
        options = self.context.options
        host, port = options.host, options.port
        if self.page is None or port is None or self.state is PageState.SERVED:
            return
        try:
            address = self.stack.enter_context(self.page(self.context.root, host, port, options.page_names))
        except OSError as error:
            if self.state is PageState.UNTRIED:
                self.context.log("no page", reason=f"{host}:{port}: {error.strerror or error}")
            self.state = PageState.REFUSED
        else:
            self.context.log("page", address=address)
            self.state = PageState.SERVED

    def close(self) -> None:
        self.stack.close()

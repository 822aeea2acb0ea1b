"""Keeps the page up for as long as a service runs."""

import contextlib
from collections.abc import Callable
from contextlib import ExitStack
from enum import Enum, auto

from ttsr_studio.errors import OptionError
from ttsr_studio.watch.context import ServiceContext

Page = Callable[[ServiceContext], contextlib.AbstractContextManager[str]]
"""Serves the page of a service while it is entered; gives its address."""


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
        """Serve the page if it is not served yet; a refusal is said once.

        Raises OptionError where the page cannot be had and is required.
        """
        page = self.context.options.page
        if self.page is None or page is None or self.state is PageState.SERVED:
            return
        try:
            address = self.stack.enter_context(self.page(self.context))
        except (OSError, OptionError) as error:
            said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            reason = f"{page.host}:{page.port}: {said}" if isinstance(error, OSError) else said
            if page.required:
                other = "; another page may be there: open it, or give --port" if isinstance(error, OSError) else ""
                raise OptionError(f"{reason}{other}") from error
            if self.state is PageState.UNTRIED:
                self.context.log("no page", reason=reason)
            self.state = PageState.REFUSED
        else:
            self.context.log("page", address=address)
            self.state = PageState.SERVED

    def close(self) -> None:
        self.stack.close()

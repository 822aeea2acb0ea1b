"""What another package offers, and who is to blame where that fails at its work."""

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Literal, TypeVar

from ttsr_studio.errors import PluginError, TtsrError, first_line

PartKind = Literal["engine", "verifier", "search", "sampler"]
Made = TypeVar("Made")
Check = Callable[..., str | None]
"""Told what a call gave, then what it was called with: why that does not fit, None where it does."""

WATCHED = "_ttsr_plugin"
"""Attribute of the classes that `Plugin.watched` makes."""


@dataclass(frozen=True)
class Plugin:
    """What a package offers.

    Attributes:
        package, version: that it comes from.
        value: "module:attribute".
    """

    kind: PartKind
    name: str
    package: str
    version: str
    value: str

    @property
    def of(self) -> str:
        """The package with its version."""
        return f"{self.package} {self.version}".strip()

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} of {self.of}"

    def fault(self, what: str) -> PluginError:
        """The error for what the plug-in did wrong."""
        return PluginError(f"{self}: the plug-in failed: {what}; tell the makers of {self.package}, or leave it out")

    @contextmanager
    def blamed(self, passing: Callable[[Exception], bool] = lambda error: False) -> Iterator[None]:
        """Raise PluginError for whatever goes wrong within it; the library's own errors stay as they are.

        Args:
            passing: which others stay as they are.
        """
        try:
            yield
        except (TtsrError, StopIteration):
            raise
        except (Exception, SystemExit) as error:  # whatever a package does
            if isinstance(error, Exception) and passing(error):
                raise
            raise self.fault(f"{type(error).__name__}: {first_line(error)} (at {self._place(error)})") from error

    def _place(self, error: BaseException) -> str:
        """Where it happened: the last line of the plug-in's own, else of anybody's."""
        frames = list(traceback.walk_tb(error.__traceback__))
        root = self.value.partition(":")[0].partition(".")[0]
        own = [each for each in frames if str(each[0].f_globals.get("__name__")).partition(".")[0] == root]
        frame, line = (own or frames)[-1]
        return f"{Path(frame.f_code.co_filename).name}:{line}"

    def around(
        self, call: Callable[..., Any], check: Check | None, passing: Callable[[Exception], bool] = lambda error: False
    ) -> Callable[..., Any]:
        """The same function, whose failures and misfits are the plug-in's."""

        @wraps(call)
        def blaming(*given: Any, **named: Any) -> Any:
            with self.blamed(passing):
                result = call(*given, **named)
            if check:
                with self.blamed():
                    why = check(result, *given)
                if why:
                    raise self.fault(f"{call.__name__} gave {why}")
            return result

        return blaming

    def watched(
        self,
        made: Made,
        methods: Mapping[str, Check | None],
        passing: Callable[[Exception], bool] = lambda error: False,
    ) -> Made:
        """The same object, of a class whose methods of these names are the plug-in's to answer for."""
        kind: Any = type(made)
        if WATCHED in vars(kind):
            return made

        def attribute(own: Any, name: str) -> Any:
            value = kind.__getattribute__(own, name)
            return self.around(value, methods[name], passing) if name in methods and callable(value) else value

        inside = {"__slots__": (), "__module__": kind.__module__, "__getattribute__": attribute, WATCHED: self}
        try:
            object.__setattr__(made, "__class__", type(kind)(kind.__name__, (kind,), inside))
        except TypeError:  # of a built-in class, such as SimpleNamespace
            for name in (each for each in methods if callable(getattr(made, each, None))):
                with suppress(AttributeError, TypeError):
                    setattr(made, name, self.around(getattr(made, name), methods[name], passing))
        return made


def type_in_words(thing: Any) -> str:
    """What something is, for the line that refuses it: its type, and its shape where it has one."""
    shape = getattr(thing, "shape", None)
    return type(thing).__name__ + (f" of shape {tuple(shape)}" if shape is not None else "")

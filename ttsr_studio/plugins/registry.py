"""A registry: what this package has by name, and what other packages offer by entry point.

A package offers a verifier "hum", say, in its pyproject.toml:

    [project.entry-points."ttsr_studio.verifiers"]
    hum = "my_package.hum:Hum"

What it names is imported when it is asked for, and refused in one line when it does not fit. Built-in names stay
built in.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from ttsr_studio.errors import MissingError, OptionError, TtsrError, first_line, unknown
from ttsr_studio.plugins.plugin import Check, PartKind, Plugin

Entry = TypeVar("Entry")
Made = TypeVar("Made")
ROOT = "ttsr_studio"


@cache
def offered(kind: PartKind, group: str) -> tuple[Plugin, ...]:
    """What the packages that are installed offer in a group, by name and package; looked for once."""
    found = {_plugin(kind, each) for each in entry_points(group=group)}
    return tuple(sorted(found, key=lambda each: (each.name, each.package)))


def _plugin(kind: PartKind, entry: EntryPoint) -> Plugin:
    package, version = (entry.dist.name, entry.dist.version) if entry.dist else ("a package without a name", "")
    return Plugin(kind, entry.name, package, version, entry.value)


class Registry(Mapping[str, Entry], Generic[Entry]):
    """Entries by name, the built-in ones first.

    Args:
        kind: of the entries; its plural names the group.
        built_in: entries, or "module:attribute" of those that are imported on use.
        misfit: why an imported plug-in is no entry, None when it is one.
    """

    def __init__(
        self,
        kind: PartKind,
        built_in: Mapping[str, Entry | str],
        misfit: Callable[[Any], str | None] = lambda entry: None,
    ) -> None:
        self.kind, self.built_in, self._misfit = kind, built_in, misfit
        self.group = f"{ROOT}.{kind}es" if kind.endswith("ch") else f"{ROOT}.{kind}s"

    def plugins(self) -> tuple[Plugin, ...]:
        """Everything that other packages offer, what is refused too."""
        return offered(self.kind, self.group)

    def __iter__(self) -> Iterator[str]:
        yield from self.built_in
        yield from dict.fromkeys(each.name for each in self.plugins() if each.name not in self.built_in)

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in self.built_in or any(each.name == name for each in self.plugins())

    def __getitem__(self, name: str) -> Entry:
        """Raises OptionError for an unknown name or a plug-in that does not fit."""
        entry = self.built_in.get(name)
        if entry is None:
            return self._of_plugin(name)
        return imported(entry) if isinstance(entry, str) else entry

    def _of_plugin(self, name: str) -> Entry:
        plugin = self.plugin(name)
        if plugin is None:
            raise unknown(self.kind, name, self)
        refused = self.refusal(plugin)
        if refused:
            raise refused
        entry: Entry = imported(plugin.value)
        return entry

    def refusal(self, plugin: Plugin) -> TtsrError | None:
        """Why a plug-in cannot be used: a MissingError where it lacks a package of its own; None when it can."""
        if plugin.name in self.built_in:
            return OptionError(f"{plugin}: the name is that of a built-in {self.kind}; it needs another")
        others = [each for each in self.plugins() if each.name == plugin.name and each != plugin]
        if others:
            return OptionError(f"{plugin}: {others[0].of} offers one of this name too; uninstall one of them")
        try:
            why = self._misfit(imported(plugin.value))
        except (Exception, SystemExit) as error:  # whatever a package does while it is imported
            return failure(error, f"{plugin}: {plugin.value} cannot be imported")
        return OptionError(f"{plugin}: {why}") if why else None

    def plugin(self, name: str) -> Plugin | None:
        """What a name stands for where it is not built in."""
        return None if name in self.built_in else next((each for each in self.plugins() if each.name == name), None)

    def made(
        self,
        name: str,
        make: Callable[[], Made],
        misfit: Callable[[Made], str | None],
        methods: Mapping[str, Check | None],
        passing: Callable[[Exception], bool] = lambda error: False,
    ) -> Made:
        """What an entry makes; a plug-in's own answers for these methods, see `Plugin.watched`.

        Raises OptionError for a plug-in's that fails, or does not fit, MissingError where it lacks a package.
        """
        plugin = self.plugin(name)
        if plugin is None:
            return make()
        try:
            made = make()
            why = misfit(made)
        except TtsrError:
            raise
        except (Exception, SystemExit) as error:  # whatever a package does
            raise failure(error, f"{plugin}: it cannot be loaded") from error
        if why:
            raise OptionError(f"{plugin}: {why}")
        return plugin.watched(made, methods, passing)


def failure(error: BaseException, what: str) -> TtsrError:
    """What went wrong with a plug-in before it was of use, as an error with one line."""
    line = f"{what} ({type(error).__name__}: {first_line(error)})"
    if isinstance(error, ImportError):
        return MissingError(f"{line}; install what it needs")
    return OptionError(line)


def imported(value: str) -> Any:
    """What "module:attribute" names."""
    module, _, attribute = value.partition(":")
    found: Any = import_module(module)
    for part in attribute.split(".") if attribute else ():
        found = getattr(found, part)
    return found


def lacks(entry: object, protocol: type) -> str | None:
    """What an object lacks of a protocol, attributes and methods, in words; None when nothing."""
    methods = [name for name, value in vars(protocol).items() if callable(value) and not name.startswith("_")]
    absent = [name for name in (*protocol.__annotations__, *methods) if not hasattr(entry, name)]
    if absent:
        return f"it lacks {', '.join(absent)}"
    wrong = [name for name in methods if not callable(getattr(entry, name))]
    return f"not a method: {', '.join(wrong)}" if wrong else None

"""What a shell may complete where an option or an argument takes a name or a file."""

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
DEVICES = ("auto", "cpu", "cuda", "mps")


def names(known: Callable[[], Iterable[str]], or_files: bool = False) -> Completer:
    """Complete names; where none begins as what was typed does, files if those may stand there, too."""

    def complete(_ctx: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
        found = [CompletionItem(name) for name in known() if name.startswith(typed)]
        return found or (files(_ctx, _parameter, typed) if or_files else [])

    return complete


def files(_ctx: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Leave it to the shell to complete a path."""
    return [CompletionItem(typed, type="file")]


def preset_names() -> Iterable[str]:
    """Names of all presets, the user's own as well."""
    from ttsr_studio.config.presets import available

    return available()


def verifier_names() -> Iterable[str]:
    """Names of all verifiers, and auto."""
    from ttsr_studio.config.option_fields import registered

    return ("auto", *registered("verifiers"))


def integration_names() -> Iterable[str]:
    """Names of what `ttsr integrations install` takes."""
    from ttsr_studio.integrations.installer import INTEGRATIONS

    return INTEGRATIONS


presets = names(preset_names)
presets_or_files = names(preset_names, or_files=True)
verifiers = names(verifier_names)
devices = names(lambda: DEVICES)
integrations = names(integration_names)
OF_OPTIONS = {
    "preset": presets_or_files,
    "verifiers": verifiers,
    "hold_out": verifiers,
    "device": devices,
    "transcript": files,
}
"""By field of a render's option: how its value is completed, where its type does not know."""

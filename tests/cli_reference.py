"""docs/use/cli.md: every command with its help, made from the commands themselves."""

import inspect
from collections.abc import Iterator

import click

from ttsr_studio.cli.main import main
from ttsr_studio.config.option_fields import FIELDS

WITH_ALL_OPTIONS = ("ttsr render", "ttsr jobs split")
HEAD = """# All commands

The option `--help` of every command shows the same in a terminal.
"""


def reference() -> str:
    """The page, in Markdown."""
    parts = [HEAD, *sections(main, click.Context(main, info_name="ttsr"))]
    return "\n".join(parts).rstrip() + "\n"


def sections(command: click.Command, context: click.Context) -> Iterator[str]:
    """A command, and what is below it."""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from sections(below, click.Context(below, info_name=name, parent=context))
        return
    yield f"## `{context.command_path}`\n"
    pieces = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{context.command_path} {pieces}\n```\n"
    yield from paragraphs(command.help or "")
    if examples := getattr(command, "examples", ()):
        width = max(len(line) for line, _ in examples)
        yield "\n".join(["```text", *(f"{line.ljust(width)}  # {told}" for line, told in examples), "```"]) + "\n"
    told = [each for each in command.params if own(each, context)]
    groups = dict.fromkeys(getattr(each, "group", "") for each in told)
    for group in groups:
        rows = [option_row(each, context) for each in told if getattr(each, "group", "") == group]
        yield "\n".join([f"| {group or 'option'} | |", "|---|---|", *rows]) + "\n"
    if context.command_path in WITH_ALL_OPTIONS:
        yield "All options of the render itself are in [All options](options.md).\n"


def paragraphs(text: str) -> Iterator[str]:
    """Paragraphs of a help text; what must not be wrapped is a block."""
    for part in inspect.cleandoc(text.replace("\f", "")).split("\n\n"):
        if part.startswith("\b"):
            yield "```text\n" + part.removeprefix("\b").strip("\n") + "\n```\n"
        else:
            yield escaped(" ".join(part.split())) + "\n"


def own(each: click.Parameter, context: click.Context) -> bool:
    """Whether it is an option that is told of here: not one of the table of options, of which there is a page."""
    if not isinstance(each, click.Option) or each.hidden:
        return False
    return context.command_path not in WITH_ALL_OPTIONS or each.opts[0].removeprefix("--") not in FIELDS


def option_row(option: click.Parameter, context: click.Context) -> str:
    record = option.get_help_record(context)
    assert record is not None
    names, text = record
    return f"| `{names.replace('|', chr(92) + '|')}` | {escaped(text)} |"


def escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")

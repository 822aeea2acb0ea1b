"""Help of a command by groups of options: examples first, then what most people need, all of it by `--help-all`."""

import inspect
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

import click

REST = "Others"
"""Title of what has no group of its own."""
SHOW_ALL = "ttsr.help-all"


Command = TypeVar("Command", bound=Callable[..., Any])


class GroupedOption(click.Option):
    """An option that is told of in a group."""

    def __init__(self, *arguments: Any, group: str = REST, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.group = group


def grouped(group: str, *names: str, **settings: Any) -> Callable[[Command], Command]:
    """`click.option`, in a group of the help."""
    return click.option(*names, cls=GroupedOption, group=group, **settings)


class GroupedCommand(click.Command):
    """A command whose help has examples and groups.

    Args:
        examples: command lines, each with what it does.
        first: groups that `--help` shows, in their order.
        more: groups that `--help-all` shows as well.
    """

    def __init__(
        self,
        *arguments: Any,
        examples: Sequence[tuple[str, str]] = (),
        first: Sequence[str] = (),
        more: Collection[str] = (),
        **settings: Any,
    ) -> None:
        super().__init__(*arguments, **settings)
        self.examples, self.first, self.more = examples, tuple(first), tuple(more)
        if self.more:
            told = f"Show all options: also {', '.join(self.more)}."
            show = GroupedOption(
                ["--help-all"], is_flag=True, is_eager=True, expose_value=False, callback=show_all, help=told,
                group=self.first[0],
            )  # fmt: skip
            self.params.append(show)

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Click's own, among the options of the first group."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.help = "Show this message and exit."
        return option

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What the command does in a sentence, and examples; whatever else there is to say comes last."""
        self._write_text(self.paragraphs()[:1], formatter)
        if self.examples:
            with formatter.section("Examples"):
                formatter.write_dl(list(self.examples), col_max=50)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options of the groups that are wanted."""
        groups = self.records(ctx)
        wanted = (*self.first, *self.more) if ctx.meta.get(SHOW_ALL) or not self.more else self.first
        for title in (*wanted, *(title for title in groups if title not in (*self.first, *self.more))):
            if rows := groups.get(title):
                with formatter.section(title):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What else there is to say."""
        self._write_text(self.paragraphs()[1:], formatter)
        super().format_epilog(ctx, formatter)

    def paragraphs(self) -> list[str]:
        """What the command says of itself."""
        return inspect.cleandoc(self.help or "").split("\n\n")

    def records(self, ctx: click.Context) -> dict[str, list[tuple[str, str]]]:
        """Rows of the help by group."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record and isinstance(parameter, click.Option):
                group = parameter.group if isinstance(parameter, GroupedOption) else self._last()
                groups.setdefault(group, []).append(record)
        return groups

    def _last(self) -> str:
        """Where `--help` itself goes."""
        return self.first[0] if self.first else REST

    @staticmethod
    def _write_text(paragraphs: Sequence[str], formatter: click.HelpFormatter) -> None:
        for paragraph in paragraphs:
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(paragraph)


def show_all(ctx: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    """Show the help with all groups, and end."""
    if asked:
        ctx.meta[SHOW_ALL] = True
        click.echo(ctx.get_help(), color=ctx.color)
        ctx.exit()

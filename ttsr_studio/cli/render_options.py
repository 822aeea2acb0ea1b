"""The options of a render as flags of a command, made from the table."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ttsr_studio.cli import completing
from ttsr_studio.cli.command import UserPath
from ttsr_studio.cli.help import GroupedOption
from ttsr_studio.config import presets
from ttsr_studio.config.option_fields import FIELDS, OptionField
from ttsr_studio.config.resolve import OF_SOME_SEARCHES, by_field
from ttsr_studio.errors import OptionError, nearest
from ttsr_studio.options.values import slip

Command = TypeVar("Command", bound=Callable[..., Any])


def render_flags(command: Command) -> Command:
    """Give a command every option of a render, and a word for flags that are no more."""
    for name in OF_SOME_SEARCHES:
        command = former_flag(name)(command)
    for field in reversed(FIELDS.values()):
        if field.flag:
            command = flag(field)(command)
    return command


def former_flag(name: str) -> Callable[[Command], Command]:
    """A flag that is `--set` now: whoever still writes it is told."""

    def refuse(ctx: click.Context, _parameter: click.Parameter, value: str | None) -> None:
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:  # a preset may still set it
            raise click.UsageError(f"--{name} is a setting of the search now: --set {name}={value}", ctx)

    return click.option(f"--{name}", hidden=True, expose_value=False, callback=refuse)


def given_flags(ctx: click.Context) -> dict[str, Any]:
    """Options that stand on the command line itself, by name; one that equals its default counts as well."""
    typed = click.core.ParameterSource.COMMANDLINE
    return {
        name: ctx.params[field.field]
        for name, field in FIELDS.items()
        if field.flag and name != "preset" and ctx.get_parameter_source(field.field) is typed
    }


def flag(field: OptionField) -> Callable[[Command], Command]:
    """The flag of an option."""
    names = "--page/--no-page" if field.field == "page" else f"--{field.name}"
    if field.kind is bool:
        value = {} if "/" in names else {"flag_value": True}
        told = told_in(field) | value
        return click.option(names, field.field, is_flag=True, default=field.default, help=field.help, **told)
    text, default = field.help, field.default
    more: dict[str, Any] = {"multiple": bool(field.several), "metavar": field.metavar, **told_in(field)}
    more["shell_complete"] = completing.OF_OPTIONS.get(field.field)
    if default not in (None, ()):
        default = str(default) if field.choices else default
        more["show_default"] = field.unset or True
    elif field.unset:
        text = f"{text}  [default: {field.unset}]".strip()
    if field.field == "preset":
        more |= {"is_eager": True, "callback": show_preset}
    return click.option(names, field.field, type=flag_type(field), default=default, help=text or None, **more)


def device_flag(command: Command) -> Command:
    """Give a command the option of a render that says what to compute on."""
    return flag(FIELDS["device"])(command)


def told_in(field: OptionField) -> dict[str, Any]:
    """The group of the help that an option stands in."""
    return {"cls": GroupedOption, "group": field.group}


def flag_type(field: OptionField) -> click.ParamType[Any]:
    """What click makes of the text of a flag."""
    if field.choices:
        return OneOf(field)
    if field.kind is Path:
        return UserPath(exists=True, dir_okay=not field.several, path_type=Path)
    if field.kind is tuple:
        return click.Tuple([float, float])
    return Told(click.types.convert_type(field.kind))


class OneOf(click.Choice[str]):
    """One of the choices of an option, or what people write for it."""

    def __init__(self, field: OptionField) -> None:
        super().__init__(field.choices)
        self.field = field

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = str(self.field.read(value))
        if "," in text and set(text.split(",")) <= set(self.choices):
            self.fail(f"{text!r}: one of them at a time.", param, ctx)
        near = "" if text in self.choices or text.isdigit() else nearest(text, self.choices)  # no digits of a number
        if near:
            self.fail(f"{self.get_invalid_choice_message(value, ctx).removesuffix('.')}{near}.", param, ctx)
        return super().convert(text, param, ctx)


class Told(click.ParamType[Any]):
    """Another type, which says what to write where somebody wrote a percentage or a decimal comma."""

    def __init__(self, kind: click.ParamType[Any]) -> None:
        self.kind, self.name = kind, kind.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self.kind.convert(value, param, ctx)
        except click.BadParameter as error:
            raise click.BadParameter(f"{error.message.removesuffix('.')}{slip(value)}.", ctx, param) from error


def show_preset(ctx: click.Context, _parameter: click.Parameter, name: str) -> str:
    """Refuse a preset that is none, and let `--help` show the defaults of one that is."""
    try:
        ctx.default_map = by_field(presets.values_of(name)) | dict(ctx.default_map or {})
    except OptionError as error:
        raise click.UsageError(str(error), ctx) from error
    return name

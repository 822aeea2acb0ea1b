"""The table of options as a page of the documentation, `docs/use/options.md`."""

from ttsr_studio.config.option_fields import FIELDS, GROUPS, OptionField

HEAD = """\
# Options of a render

Every option of `ttsr render`, made from the one table of them, `ttsr_studio/options/`. Besides a flag, an option may
be set by a **preset**, and with it a `ttsr-watch.toml`; by a **sidecar**, `NAME.ttsr.toml` beside the file; by the
`options` of a **job**; by a key of an **evaluation**'s `--render` and `--grid`: there it is written without the dashes.
A sidecar goes before flags, for its file alone, and flags go before a preset. The settings of the zero-order search
(`neighbours`, `cosine`, `stride`, `pivot`) may also stand alone there: `neighbours = 4` is `set = ["neighbours=4"]`.
"""


def page() -> str:
    """The page, in Markdown."""
    lines = HEAD.splitlines()
    for group in GROUPS:
        lines += ["", f"## {group}", "", "| option | default | | may be set by |", "|---|---|---|---|"]
        lines += [table_row(field) for field in FIELDS.values() if field.group == group and field.flag]
    return "\n".join([*lines, ""])


def table_row(field: OptionField) -> str:
    """One option, as a row of a table."""
    silent = field.default in (None, ()) or field.default is False
    default = field.unset or ("" if silent else str(field.default))
    choices = f"One of `{'`, `'.join(field.choices)}`." if field.choices else ""
    told = " ".join(part for part in (field.help, choices) if part).replace("*", "\\*")
    return f"| `--{field.name}` | {default} | {told} | {', '.join(field.held_by)} |"

"""docs/develop/api.md, made from the docstrings of the public names."""

import dataclasses
import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import ttsr_studio

HEAD = """# Python API

What `import ttsr_studio as ttsr` offers. Everything is imported on use; all else in the package may change.
This page is made from the docstrings by `python tests/generated_pages.py`.
"""


def reference() -> str:
    """The page."""
    parts = [HEAD]
    for name, module in ttsr_studio.PUBLIC.items():
        entry = getattr(import_module(module), name)
        parts += section(f"`ttsr.{name}{signature(entry)}`", entry, 2)
        if inspect.isclass(entry) and not dataclasses.is_dataclass(entry) and not issubclass(entry, Exception):
            for own, method in methods(entry):
                parts += section(f"`{name}.{own}{signature(method)}`", method, 3)
    return "\n".join(parts)


def section(title: str, entry: Any, level: int) -> Iterator[str]:
    yield f"{'#' * level} {title}\n"
    text = inspect.getdoc(entry) or ""
    yield f"```text\n{text}\n```\n" if "\n" in text else f"{text}\n"


def methods(entry: type) -> Iterator[tuple[str, Any]]:
    for name, value in vars(entry).items():
        if inspect.isfunction(value) and not name.startswith("_"):
            yield name, value


def signature(entry: Any) -> str:
    """How it is called, without types, which the docstring has in words; nothing for errors and dataclasses."""
    if dataclasses.is_dataclass(entry) or (inspect.isclass(entry) and issubclass(entry, Exception)):
        return ""
    found = inspect.signature(entry)
    bare = [each.replace(annotation=each.empty) for each in found.parameters.values() if each.name != "self"]
    return str(found.replace(parameters=bare, return_annotation=found.empty))

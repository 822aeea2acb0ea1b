"""Errors of the library in the words of Python: an option by the name of its argument, and not by its flag."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ttsr_studio.config.option_fields import FIELDS, registered
from ttsr_studio.errors import TtsrError

FLAG = re.compile(r"--([a-z]+(?:-[a-z]+)*)(?: ([A-Z]+\b|-?\d[\w.]*|[a-z]+(?:-\w+)*))?")
OUTPUT = re.compile(r"(?<![\w-])-o(?= |$|;|:)")
OF_A_RENDER = {"overwrite": "overwrite=True", "no-report": "report=False", "report": "report"}
"""Flags that are no options, and what they are called."""


@contextmanager
def python_words() -> Iterator[None]:
    """Let errors of the library that leave it say "candidates" for "--candidates"."""
    try:
        yield
    except TtsrError as error:
        if error.args:
            error.args = (in_python(str(error)), *error.args[1:])
        raise


def in_python(text: str) -> str:
    """A message with arguments in place of flags; what is given to them is in quotes where it is a text."""
    return OUTPUT.sub("out", FLAG.sub(argument, text))


def argument(flag: re.Match[str]) -> str:
    """A flag, and what follows it, as an argument."""
    name, value = flag[1], flag[2]
    if name not in FIELDS:
        return f"{OF_A_RENDER[name]} {value or ''}".rstrip() if name in OF_A_RENDER else flag[0]
    spelt = name.replace("-", "_")
    if value is None:
        return spelt
    field = FIELDS[name]
    if value in (*field.choices, *registered(field.field)):
        return f'{spelt}="{value}"'
    return f"{spelt} {value}" if value[0].islower() else f"{spelt}={value}"

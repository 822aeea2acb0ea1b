"""Whether a document is as the public schema of its format says."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from ttsr_studio.errors import pip_install

MOST_ERRORS = 3


@dataclass(frozen=True)
class Validity:
    """What a schema says.

    Attributes:
        errors: the first few things that are wrong. checked: whether it was asked at all.
    """

    errors: tuple[str, ...]
    checked: bool = True

    @property
    def note(self) -> str:
        """What a user should know; empty where all is well."""
        if not self.checked:
            return f"not checked against the format's schema, for want of lxml: {pip_install('lxml')}"
        return f"the project is not as its schema says ({self.errors[0]})" if self.errors else ""


@cache
def schema_of(name: str) -> Any:
    """A schema that comes with this package; None where there is no lxml."""
    try:
        from lxml import etree
    except ImportError:
        return None
    return etree.XMLSchema(etree.fromstring((files(__package__) / "schemas" / f"{name}.xsd").read_bytes()))


def differences(content: bytes, name: str) -> Validity:
    """Hold a document, in UTF-8, against the schema "Project" or "MetaData" of DAWproject 1.0."""
    known = schema_of(name)
    if known is None:
        return Validity((), checked=False)
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True, encoding="utf-8")
    known.validate(etree.fromstring(content, parser))
    found = [f"line {each.line}: {each.message}" for each in known.error_log]
    return Validity(tuple(found[:MOST_ERRORS]))

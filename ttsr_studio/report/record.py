"""What all parts of a report are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
KnownScores = Mapping[str, float | None]
"""By verifier, or by scale, "verifier/scale"; None when it could not be scored."""
Role = Literal["search", "held-out"]


class Record:
    """A part of the report: fields that it does not have are refused."""

    __pydantic_config__ = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        json_schema_serialization_defaults_required=True,
    )


@dataclass(frozen=True)
class Notice(Record):
    """Something that somebody has to know of a file or its render."""

    name: str
    """By which the documentation tells of it, docs/use/warnings.md."""
    text: str
    """In words, of this file."""

"""The form of a policy as the user writes it, `NAME: KEY=VALUE ...`; checked before anything heavy is loaded."""

from ttsr_studio.errors import OptionError
from ttsr_studio.options.values import parse_pairs


def split_policy(text: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """ "name: key=value key=value" -> the name, and pairs of texts. Raises OptionError for any other form."""
    name, colon, rest = text.partition(":")
    name = name.strip()
    if not colon or not name or "=" in name:
        raise OptionError(f"--policy {text!r}: write NAME: KEY=VALUE ..., such as 'best8: n=8 verifier=critic'")
    return name, parse_pairs("--policy", rest.split(), "n=8")

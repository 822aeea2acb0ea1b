"""Names of what belongs to a render."""

from pathlib import Path

from ttsr_studio.options import RenderOptions
from ttsr_studio.storage.atomic import fit_name


def report_names(target: Path) -> tuple[Path, Path, Path]:
    """Where the report of an output is: JSON, PNG and the arrays of the uncertainty map."""
    json, png, npz = (target.with_name(fit_name(f"{target.stem}.ttsr.{kind}")) for kind in ("json", "png", "npz"))
    return json, png, npz


def beside(target: Path, what: str) -> Path:
    """NAME_what beside NAME."""
    return target.with_name(fit_name(f"{target.stem}_{what}{target.suffix}"))


def renders_of(target: Path, options: RenderOptions) -> list[Path]:
    """The audio that a render of this name may write."""
    extra = ["control"] * options.control + [f"top{rank}" for rank in range(1, options.keep_top + 1)]
    return [target, *(beside(target, what) for what in extra)]


def page_name(target: Path) -> Path:
    return target.with_name(fit_name(f"{target.stem}.ttsr.html"))

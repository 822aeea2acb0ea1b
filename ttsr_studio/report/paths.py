"""Names of what belongs to a render."""

import json
from pathlib import Path

from ttsr_studio.options import RenderOptions
from ttsr_studio.storage.atomic import fit_name
from ttsr_studio.storage.names import FileKeys


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


def report_paths(target: Path) -> tuple[Path, Path, Path]:
    """Where the report of an output is or goes, as `report_names`: `a.m4a.ttsr.json` where `a.ttsr.json` is another's.

    What lies there is the report of this very output, or nothing does.
    """
    stems = (target.stem, target.name, *(f"{target.name}.{number}" for number in range(2, 100)))
    names = [report_names(target.with_name(f"{stem}.wav")) for stem in stems]  # what the ending is does not matter
    free = next((each for each in names if not each[0].exists()), names[1])
    return next((each for each in names[:8] if is_of(each[0], target)), free)


def is_of(report: Path, target: Path) -> bool:
    """Whether a report is of an output of this name; False for what is no report at all."""
    try:
        name = json.loads(report.read_text(encoding="utf-8"))["output"]["name"]
        keys = FileKeys()
        return keys.of(target.with_name(name)) == keys.of(target)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False


def is_report(path: Path) -> bool:
    """Whether a file is a report of any output."""
    try:
        return bool(json.loads(path.read_text(encoding="utf-8"))["output"]["name"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False


def page_name(target: Path) -> Path:
    """Where the audition page of an output is: beside its report."""
    return report_paths(target)[0].with_suffix(".html")

"""Outputs that exist already: refused, left as they are, or rendered anew where what wrote them was ended before."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ttsr_studio.batch.plan import Job
from ttsr_studio.errors import OptionError, OutputError, shown
from ttsr_studio.options import RenderOptions
from ttsr_studio.report.lacking import is_unfinished, lacking, was_cut_off
from ttsr_studio.report.paths import renders_of
from ttsr_studio.report.writing import clear_temporary, end_writing, hidden_names, unfinished_files

CUT_OFF = "a run was ended before all of it was written"


@dataclass(frozen=True)
class Existing:
    """What an output is that may exist.

    Attributes:
        left: why it needs no other render; empty where it does, or is not there.
        anew: why it is rendered anew although it is there, where that is known.
    """

    left: str = ""
    anew: str = ""


def output_there(target: Path, report: bool, draw: bool = True) -> Existing:
    """Whether an output exists and needs no other render: a whole one, or a file of somebody else's.

    Args:
        report: whether reports are wanted; where they are not, nothing is missed of one.
        draw: whether a picture that alone is missing is drawn anew; otherwise it is only told that it would be.
    """
    if not target.exists():
        return Existing()
    if not is_unfinished(target, report):
        return Existing(left="exists")
    missing = lacking(target)
    if report and missing and is_drawn(target, draw):
        return Existing(left=f"exists; picture {'' if draw else 'would be '}drawn anew")
    if missing:
        names = ", ".join(shown(Path(path.name)) for path in missing)
        return Existing(anew=f"{names} {'is' if len(missing) == 1 else 'are'} missing")
    return Existing(anew=CUT_OFF if was_cut_off(target) else "")


def is_drawn(target: Path, draw: bool) -> bool:
    """Draw a picture that alone is missing, and say whether that was so; a render tells why it cannot be written."""
    from ttsr_studio.report.redraw import redrawing

    try:
        drawing = redrawing(target)
        if drawing and draw:
            drawing()
            end_writing(target)
    except OutputError:
        return False
    return drawing is not None


def renders_there(jobs: Iterable[Job], options: RenderOptions) -> list[Path]:
    """Renders of these names, or that would be written beside them, that exist already.

    What a run left that was killed while it wrote them is to be made anew, and does not count.
    """
    found = list[Path]()
    for job in jobs:
        ours = unfinished_files(job.target) if is_to_be_made(job.target) else []
        found += [path for path in renders_of(job.target, options) if path.exists() and path not in ours]
    return found


def is_to_be_made(target: Path) -> bool:
    """Whether what a mark says of an output still counts: it was cut off, or never got its name."""
    return was_cut_off(target) or not target.exists()


def clear_killed(jobs: Iterable[Job]) -> None:
    """Remove what processes of this machine that were killed left of these outputs: temporary files and marks.

    A mark of audio that is to be made anew stays: by it that is known.
    """
    names = dict[Path, list[str]]()
    for target in (job.target for job in jobs):
        if target.parent not in names:
            names[target.parent] = hidden_names(target.parent)
        ended = names[target.parent] and clear_temporary(target, names[target.parent])
        if ended and not (is_to_be_made(target) and unfinished_files(target)):
            end_writing(target)


def refuse_existing(jobs: list[Job], options: RenderOptions, advice: str) -> None:
    """Raise OptionError when a render, or one that is written beside it, exists already.

    What processes that were killed left of them goes first.
    """
    clear_killed(jobs)
    if there := renders_there(jobs, options):
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise OptionError(f"{shown(there[0])}{more}: exist{'' if more else 's'} already; {advice}")


def is_replaced(target: Path, report: bool, skip_existing: bool) -> bool:
    """Whether an output that exists is a render to be made anew, though nothing that exists may be replaced."""
    return was_cut_off(target) or (skip_existing and is_unfinished(target, report))

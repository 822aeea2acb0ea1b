"""What `ttsr render` says of files: how it went with each, what is left, and how a run was ended."""

import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ttsr_studio.batch.existing import CUT_OFF, output_there
from ttsr_studio.batch.outcome import FileOutcome
from ttsr_studio.batch.plan import Job
from ttsr_studio.cli.interrupt import INTERRUPTED
from ttsr_studio.cli.progress import RenderProgress
from ttsr_studio.cli.run_output import RunOutput
from ttsr_studio.errors import shown
from ttsr_studio.report.lacking import lacking, was_cut_off
from ttsr_studio.report.numbers import roughly, time_words

if TYPE_CHECKING:
    from ttsr_studio.rendering.inference.session import Session
    from ttsr_studio.rendering.reproduce import Earlier
    from ttsr_studio.report.schema import Report


def say(outcome: FileOutcome, again: "Earlier | None", out: RunOutput) -> bool:
    """Say how it went with a file; False when it failed, or came out different."""
    job = outcome.job
    if outcome.there:  # it appeared meanwhile
        say_there(job, out, outcome.there)
        return True
    if outcome.status == "skipped":
        told = {"input": str(job.source), "status": "skipped", "reason": outcome.reason}
        out.result(told, f"skipped {outcome.reason}")
        return True
    if outcome.rendered is None:
        out.failure({"input": str(job.source), "fault": outcome.fault}, outcome.reason)
        for line in outcome.trace:
            out.detail(line)
        return False
    session, rendered = outcome.rendered
    line, good = rendered.line, True
    data = {"input": str(job.source), "output": str(job.target), "status": "rendered", **rendered.summary}
    if again:
        take = session.options.take
        data["verdict"] = again.verdict(session, rendered)
        line = f"{line}\n{data['verdict']}"
        good = again.expected(take) is None or again.same(rendered, take)
    if rendered.page:
        line = f"{line}\n  to listen: {shown(rendered.page)}"
    out.result(data, line)
    for each in details(rendered.report):
        out.detail(each)
    return good


def details(report: "Report") -> list[str]:
    """What only some want to know of a render."""
    tool, spent = report.tool, report.timing
    stages = sorted(spent.seconds.items(), key=lambda pair: -pair[1])
    lines = [
        f"preset {tool.preset}, seed {tool.seed}, {tool.engine} on {tool.device}, {tool.batch_size} rows at once",
        f"input: {report.input.cutoff_reason}",
        f"time: {', '.join(f'{name} {time_words(seconds)}' for name, seconds in stages)}",
    ]
    for name, score in report.scores.items():
        compared = [
            f"{what} {value:.3f}"
            for what, value in (("chosen", score.chosen), ("mean", score.mean), ("first draw", score.first))
            if value is not None
        ]
        lines.append(f"{name} ({score.role}): {', '.join(compared)}")
    return [*lines, f"output: {report.output.gain_reason}, sha256 {report.output.sha256}"]


def is_left(job: Job, report: bool, out: RunOutput, dry_run: bool = False, named: str = "") -> bool:
    """Whether an output that exists is left as it is, which is said; a picture that alone is missing is drawn anew.

    Args:
        named: the input's name, where it is another one to who asked.
    """
    found = output_there(job.target, report, draw=not dry_run)
    if found.left:
        say_there(job, out, found.left, named)
    elif found.anew:
        say_anew(job, out, found.anew, dry_run)
    return bool(found.left)


def say_cut_off(job: Job, out: RunOutput, dry_run: bool) -> None:
    """Say of an output that a run left which was killed while it wrote it that it is made anew."""
    if was_cut_off(job.target):
        say_anew(job, out, CUT_OFF, dry_run)


def say_anew(job: Job, out: RunOutput, why: str, dry_run: bool) -> None:
    """Say why an output that exists is made anew."""
    out.note(f"{shown(job.target)}: {'would be ' * dry_run}rendered anew, as {why}")


def say_there(job: Job, out: RunOutput, reason: str, named: str = "") -> None:
    """Say that an output is left as it is."""
    told = {"input": named or str(job.source), "output": str(job.target), "status": "skipped", "reason": reason}
    out.result(told, f"skipped {shown(job.target)} ({reason})")


def say_lacking(targets: Collection[Path], out: RunOutput) -> None:
    """Name outputs that are there without all that belongs to them, such as the picture."""
    for target in targets:
        if target.exists() and (missing := lacking(target)):
            names = ", ".join(shown(Path(path.name)) for path in missing)
            out.note(f"{shown(target)}: written, but not its {names}; it does not count as done")


def say_stopping(progress: RenderProgress, session: "Session") -> None:
    """Say what the wish to stop means now."""
    progress.left.stop(session.candidates)
    left, windows = progress.left.of_file(), progress.windows_left
    told = f"{windows} window{'' if windows == 1 else 's'} left, " if windows else ""
    when = f"{told}{roughly(left)}" if left is not None else told.removesuffix(", ")
    told = f" ({when})" if when else ""
    progress.say(f"stopping: {progress.name} is finished with the best so far{told}; Ctrl-C again leaves it")


def end_interrupted(how: str, done: int, left: int, out: RunOutput, early: Path | None = None) -> NoReturn:
    """Say what is done, what is left, and which output was ended early; and end the process."""
    then = ["goes on there"] * (left > 0) + ([f"makes {shown(early)} anew"] if early else [])
    rest = f", {left} left" if left else ""
    more = f"; the same command with --skip-existing {' and '.join(then)}" if then else ""
    out.quiet = False
    out.note(f"{how}; {done} of {done + left} files done{rest}{more}")
    sys.exit(INTERRUPTED)

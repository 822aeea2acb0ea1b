"""What `ttsr render --dry-run` does: says of every file what would be made of it, and what stands in the way."""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ttsr_studio.batch.plan import Job
from ttsr_studio.cli.run_output import RunOutput
from ttsr_studio.errors import TtsrError, on_one_line, shown
from ttsr_studio.options import RenderOptions
from ttsr_studio.report.record import Notice

if TYPE_CHECKING:
    from ttsr_studio.diagnostics.inspection import Inspection
    from ttsr_studio.rendering.estimate import Speed
    from ttsr_studio.rendering.inference.session import Session

PLANNED = ("would be rendered", "skipped", "failed")
"""What becomes of files, as they are counted."""


def announce_all(
    jobs: Collection[Job], options_of: Callable[[Job], RenderOptions], session: "Session", out: RunOutput
) -> Counter[str]:
    """Say of every file what would be done; counts by `PLANNED`. How fast this machine is is measured once."""
    from ttsr_studio.rendering.estimate import measured_speed

    found: list[Speed | None] = []

    def speed_of() -> "Speed | None":
        if not found:
            found.append(measured_speed(session))
        return found[0]

    return Counter(announce(job, options_of, speed_of, out) for job in jobs)


def announce(
    job: Job, options_of: Callable[[Job], RenderOptions], speed_of: "Callable[[], Speed | None]", out: RunOutput
) -> str:
    """Say of one file what would be done; one of `PLANNED`."""
    from ttsr_studio.diagnostics.inspection import inspect
    from ttsr_studio.rendering.source import form_of
    from ttsr_studio.report.notices import rate_notice

    rendered, skipped, failed = PLANNED
    try:
        options = options_of(job)
        found = inspect(job.source, options.salvage, options.stream)
        form = form_of(found.info, options, job.target)
    except TtsrError as error:
        out.failure({"input": str(job.source)}, on_one_line(str(error)))
        return failed
    info, plan = found.info, found.plan
    if options.cutoffs and not found.band.silent:
        plan = f"would be rendered from {options.cutoff} Hz up, as --cutoff says"
    made = found.band.limited or bool(options.cutoffs)
    speed = speed_of() if made else None
    kind = f"{info.format}, {info.rate} Hz, {info.channels} ch, {found.length}"
    told = found.to_json() | {"output": str(job.target), "status": "planned", "plan": plan}
    notices = [*found.notices, *(rate_notice(info.rate, form.sound.rate) if made else ())]
    notices += lifts_to_come(found, options)
    told["notices"] = [asdict(notice) for notice in notices]
    told["render_s"] = speed.of(found.seconds, info.channels) if speed else None
    told["render_s_basis"] = speed.basis if speed else None
    needs = f"; {speed.words(found.seconds, info.channels)}" if speed else ""
    lines = [f"{shown(job.source)} ({kind}) -> {shown(job.target)}", f"{found.band.reason}: {plan}{needs}"]
    out.result(told, "\n  ".join([*lines, *(f"note: {notice.text}" for notice in notices)]))
    return rendered if made or found.band.silent else skipped


def lifts_to_come(found: "Inspection", options: RenderOptions) -> list[Notice]:
    """What a render would say of filters' skirts that it lifts."""
    from ttsr_studio.rendering.skirts import skirt_records, skirts_in_words

    if not options.lift_skirt or options.keep_skirt or options.remove == "above" or not found.skirts:
        return []
    skirts = found.skirts.up_to(options.cutoffs) if options.cutoffs else found.skirts
    texts = skirts_in_words(skirt_records(skirts), None)
    return [Notice("skirt-lifted", f"to come: {text}; --keep-skirt leaves it") for text in texts]


def say_in_the_way(there: list[Path], overwrite: bool, skip_existing: bool, out: RunOutput) -> int:
    """At the end of a dry run, say what becomes of outputs that exist; returns how many stand in the way."""
    if not there:
        return 0
    several = len(there) > 1
    which = shown(there[0]) + (f" and {len(there) - 1} more" if several else "")
    if overwrite or skip_existing:
        them, they = ("them", "they lack") if several else ("it", "it lacks")
        early = "" if overwrite else f", as Ctrl-C ended {them} early or {they} files that belong to a render"
        out.note(f"{which}: would be replaced{early}")
        return 0
    exist = "exist" if several else "exists"
    out.note(
        f"{which}: {exist} already, so nothing would be rendered; pass --overwrite or --skip-existing, or another -o"
    )
    return len(there)

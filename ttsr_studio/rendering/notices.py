"""What somebody has to know of a render, from its report."""

from collections.abc import Iterator

from ttsr_studio.audio.loudness import MOST_MOVED_DB
from ttsr_studio.options.values import parse_budget
from ttsr_studio.rendering.beyond import beyond_in_words
from ttsr_studio.rendering.holes import holes_in_words
from ttsr_studio.rendering.inference.settings import MOST_CANDIDATES
from ttsr_studio.rendering.skirts import skirts_in_words
from ttsr_studio.report.file_records import AmountRecord, LimitRecord
from ttsr_studio.report.notices import input_notices, output_notices, rate_notice
from ttsr_studio.report.numbers import time_words
from ttsr_studio.report.record import Notice
from ttsr_studio.report.schema import Report

SEARCHING = ("condition", "noise", "network", "solver", "decode")
"""Stages that a budget of time is for."""
OVER = 1.25
"""By how much a search may pass its time before that is said: it ends within a solver step."""
AUDIBLE_DB = 0.1
"""Less is no news."""
MOST_REGIONS = 2
"""Uncertain stretches that are named."""


def notices_of(report: Report) -> list[Notice]:
    """All that there is, in the order in which it is told."""
    start, out = report.input, report.output
    notices = [
        *(Notice("amount", text) for text in amount_in_words(report.amount)),
        *(Notice("limited", text) for text in limit_in_words(out.limited)),
        *input_notices(start.warnings),
        *of_rate(report),
        *(
            Notice("tones-kept" if text.startswith("kept") else "removed", text)
            for text in beyond_in_words(start.beyond)
        ),
        *(
            Notice("holes-filled" if report.codec_holes and report.codec_holes.cells else "no-holes", text)
            for text in holes_in_words(report.codec_holes)
        ),
        *(Notice("skirt-lifted", text) for text in skirts_in_words(start.skirts, start.lifted_lu)),
        *output_notices(out.metadata.warnings),
    ]
    if out.metadata.left_out:
        notices.append(Notice("metadata-left-out", f"metadata left out: {', '.join(out.metadata.left_out)}"))
    if out.lowered_db:
        notices.append(Notice("gain-lowered", f"{out.gain_reason}{net_of_lowering(report)}"))
    elif out.limited:
        notices.append(Notice("limited", out.gain_reason))
    return [*notices, *of_search(report), *of_level(report), *of_scores(report)]


def of_level(report: Report) -> Iterator[Notice]:
    """Where the loudness of the input and the level of what was there could not both be kept."""
    out = report.output
    wanted = out.gain_db + out.lowered_db
    if out.lowered_db and abs(out.held_db) > AUDIBLE_DB:
        return  # the ceiling decides, and says so
    if abs(out.held_db) > AUDIBLE_DB:
        why = ", as what was there keeps its level; --loudness match makes it as loud"
        yield Notice("level-kept", f"{apart_in_words(out.held_db)}{why}")
    elif report.tool.options.get("loudness") == "match" and abs(wanted) > MOST_MOVED_DB and not report.chain:
        lowers = "lowers" if wanted < 0 else "raises"
        yield Notice("level-moved", f"the loudness match {lowers} what was there by {abs(wanted):.1f} dB")


def net_of_lowering(report: Report) -> str:
    """What a lowered gain comes to, where the loudness is off by another figure than the gain was lowered by."""
    before, after = report.input.lufs, report.output.lufs
    if before is None or after is None or abs(after - before + report.output.lowered_db) <= AUDIBLE_DB:
        return ""
    return f"; in all {apart_in_words(after - before)}"


def apart_in_words(difference: float) -> str:
    """How far the loudness of the output is from the input's, in LU."""
    return f"{abs(difference):.1f} LU {'louder' if difference > 0 else 'softer'} than the input"


def of_rate(report: Report) -> list[Notice]:
    """Whether the output holds less than the input could."""
    coded = any(notice.name == "rate-of-codec" for notice in output_notices(report.output.metadata.warnings))
    return [] if coded else rate_notice(report.input.rate, report.output.rate)


def of_search(report: Report) -> Iterator[Notice]:
    """Where the search did less than was asked for."""
    options, windows = report.tool.options, len(report.windows)
    for reason, count in report.search.cut.items():
        if reason != "target":
            yield Notice("stopped-early", f"stopped early ({reason}) in {count} of {windows} windows")
    counts = [len(window.candidates) for window in report.windows if window.candidates]
    if not counts:
        return
    seconds, spent = parse_budget(options.get("budget"))[1], sum(report.timing.seconds.get(s, 0.0) for s in SEARCHING)
    if seconds is not None and min(counts) == 1 and spent > OVER * seconds:
        text = (
            f"the budget of {time_words(seconds)} does not allow one candidate a window; that took {time_words(spent)}"
        )
        yield Notice("budget-too-small", text)
    if seconds is not None and not options.get("candidates") and min(counts) == MOST_CANDIDATES:
        text = f"{MOST_CANDIDATES} candidates of a window are the most that time alone makes; --candidates allows more"
        yield Notice("most-candidates", text)
    wanted, written = int(options.get("keep_top") or 1), len(report.best)
    few = f"only {min(counts)} candidate{'s' if min(counts) > 1 else ''} of a window could be made"
    if 0 < written < wanted:
        why = few if min(counts) < wanted else "the others came out the same"
        yield Notice("fewer-renders", f"{written} of {wanted} renders written: {why}")
    if report.random_baseline and report.random_baseline.sha256 == report.output.sha256:
        yield Notice(
            "control-is-the-choice", f"{report.random_baseline.name} is the same as the choice: nothing to compare"
        )


def of_scores(report: Report) -> Iterator[Notice]:
    """What verifiers say against the choice."""
    for name, record in report.scores.items():
        if record.harm:
            yield Notice("worse-by-a-verifier", f"scored {' and '.join(record.harm)} by {name}")
    behind = report.gains.held_out
    if behind is not None and behind < -0.05:
        text = f"held-out verifiers score it {-behind:.1f} standard deviations below a random pick"
        yield Notice("held-out-behind", text)
    regions = report.uncertainty.regions
    if regions:
        places = ", ".join(f"{region.start_s:.1f} to {region.stop_s:.1f} s" for region in regions[:MOST_REGIONS])
        more = f" and {len(regions) - MOST_REGIONS} stretches more" if len(regions) > MOST_REGIONS else ""
        yield Notice("uncertain", f"uncertain from {places}{more}")
    most = max((len(window.candidates) for window in report.windows), default=0)
    for name in sorted({"medoid", "medoid_zimtohrli"} & set(report.scores)) if most <= 2 else ():
        text = f"{name} goes by which candidate is most like the others, and there were {most}: 3 are needed to choose"
        yield Notice("cannot-choose", text)
    for name, why in report.left_out.items():
        what, _, rest = why.partition(": ")
        yield Notice("verifier-left-out", f"{name} left out: {rest if what.startswith(name) else why}")


def limit_in_words(limit: LimitRecord | None) -> list[str]:
    """What a limiter did."""
    if limit is None:
        return []
    return [f"limited by at most {limit.most_db:.1f} dB, in {100 * limit.share:.2g} % of the file"]


def amount_in_words(amount: AmountRecord) -> list[str]:
    """How much of what was made is heard, where that is not all of it as it is."""
    share = f"amount {amount.asked:g}" if amount.mean is None else f"amount auto, {amount.mean:.2f} on average"
    tilt = f"tilt {amount.tilt_db:+g} dB an octave"
    return [share] * (amount.asked != 1) + [tilt] * (amount.tilt_db != 0)

"""`ttsr replay`: what policies of a search would have come to on draws that are there, at no evaluation of the engine.

Every figure is an expectation over which draws a policy would have made (see `selection`), mean over the windows of a
clip, then over clips with a bootstrap interval. Scores are higher is better; `lsd` is minus the distance to the truth.

- value: the score of what is chosen, by the column that outcomes go by. Where segments are chosen, the
    window's mean and what the chosen segments have over the mean of theirs.
- gain: that above the mean of all draws, which is what a random choice comes to.
- gain_sd: the same in standard deviations over a window's draws.
- closed: the share of the way from the mean draw to the best of all draws of every window that the choice goes,
    whatever the policy drew; a choice by segment can go beyond it.
- nfe: evaluations of a window and channel as a render counts them, with the mean render that `consensus` takes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from ttsr_studio.errors import OptionError, unknown
from ttsr_studio.evaluation.replay.policy import Policy, check
from ttsr_studio.evaluation.replay.score_file import Array, Draws, Recording, ScoreFile
from ttsr_studio.evaluation.replay.selection import Choice, choices
from ttsr_studio.evaluation.reporting.bootstrap import Estimate, bootstrap, paired
from ttsr_studio.evaluation.reporting.tables import by_kind_and_cutoff, interval, markdown_table
from ttsr_studio.evaluation.sweep import Row
from ttsr_studio.search.protocol import SamplingPlan

ORACLE = "lsd"
SAME_DRAWS = 1e-9
"""Draws that differ by less, relative to their size, are alike: nothing can be chosen."""

OUTCOME = {"value": "{by}", "gain": "gain", "gain_sd": "gain, sd", "closed": "closed", "nfe": "evaluations"}
"""Figure -> title of its column."""


def outcome_column(file: ScoreFile, by: str | None) -> str:
    """The column that outcomes go by: the one asked for, or the oracle where it is there.

    Raises OptionError for a column that is not in the file, or when none is asked for and the oracle is not.
    """
    if by is None and ORACLE not in file.columns:
        raise OptionError(f"the oracle lsd is not in the file; give --by one of {', '.join(sorted(file.columns))}")
    if (by or ORACLE) not in file.columns:
        raise unknown("column for --by", by or ORACLE, file.columns)
    return by or ORACLE


def replay(policies: Sequence[Policy], file: ScoreFile, by: str, orders: int, seed: int) -> list[Row]:
    """Rows of every policy on every clip; see the module for their figures.

    Raises OptionError, before anything is replayed, for a policy that cannot be.
    """
    names = [policy.name for policy in policies]
    for policy in policies:
        if names.count(policy.name) > 1:
            raise OptionError(f"two policies are named {policy.name!r}")
        check(policy, file)
        if policy.choice == "segment" and by not in file.segments and several_segments(file):
            raise unknown(f"policy {policy.name!r}: column of segments for --by", by, file.segments)
    return [
        {"policy": policy.name, "clip": clip.clip, "kind": clip.kind, "cutoff_hz": clip.cutoff_hz}
        | outcome(clip, choices(policy, clip, file.plan, orders, seed), by)
        for policy in policies
        for clip in file.recordings
    ]


def several_segments(file: ScoreFile) -> bool:
    return any(len(window.shares) > 1 for recording in file.recordings for window in recording.windows)


def outcome(clip: Recording, made: Sequence[Choice], by: str) -> dict[str, float]:
    """A policy's figures on a clip; NaN for what is not known, such as `closed` where all draws are alike."""
    rows = []
    for window, choice in zip(clip.windows, made, strict=True):
        values = window.scores[by]
        known = values[np.isfinite(values)]
        if not len(known):
            continue
        mean, best, spread = float(known.mean()), float(known.max()), float(known.std())
        gain = gained(window, choice, by)
        alike = best - mean <= SAME_DRAWS * max(1.0, abs(mean))
        rows.append((mean + gain, gain, np.nan if alike else gain / spread, 0.0 if alike else best - mean, choice.nfe))
    if not rows:
        return dict.fromkeys(OUTCOME, np.nan)
    table = np.array(rows)
    value, gain, _, way, nfe = table.mean(axis=0)
    known = table[np.isfinite(table[:, 2]), 2]
    return {
        "value": float(value),
        "gain": float(gain),
        "gain_sd": float(known.mean()) if len(known) else np.nan,
        "closed": float(gain / way) if way > 0 else np.nan,
        "nfe": float(nfe),
    }


def gained(window: Draws, choice: Choice, column: str) -> float:
    """What a choice is expected to have of a column above the mean of all draws; NaN where nothing is known of it."""
    parts = window.segments[column] if choice.chances.shape[1] > 1 else window.scores[column][:, None]
    shares = window.shares if choice.chances.shape[1] > 1 else np.ones(1)
    above = shares @ (expected(parts, choice.chances) - expected(parts, np.ones_like(parts)))
    return round(float(above), 12) + 0.0  # what rounding leaves of a random choice's gain is none, and not minus 0


def expected(values: Array, chances: Array) -> Array:
    """Mean of values [M, S] by chances [M, S], over what is known of them: [S]; NaN where that is nothing."""
    weights = np.where(np.isfinite(values), chances, 0.0)
    total = weights.sum(axis=0)
    summed = (weights * np.where(np.isfinite(values), values, 0.0)).sum(axis=0)
    return np.where(total > 0, summed / np.where(total > 0, total, 1.0), np.nan)


Summary = dict[str, Any]
"""Of a policy on a kind at a cutoff: Estimates by figure, and `difference` to the first policy's value."""


def summarise_outcomes(rows: Sequence[Row], seed: int) -> list[Summary]:
    """Means over clips by kind, cutoff and policy, with 95 % intervals; differences are paired by clip."""
    found = []
    for kind, cutoff, part in by_kind_and_cutoff(rows, together=True):
        names = list(dict.fromkeys(row["policy"] for row in part))
        columns = {
            (name, figure): np.array([row[figure] for row in part if row["policy"] == name], np.float64)
            for name in names
            for figure in OUTCOME
        }
        for name in names:
            difference = paired(columns[name, "value"], columns[names[0], "value"], seed).estimate
            estimates = {figure: bootstrap(columns[name, figure], seed) for figure in OUTCOME}
            found.append(
                {"kind": kind, "cutoff_hz": cutoff, "policy": name, "clips": estimates["value"].n, **estimates}
                | {"difference": None if name == names[0] else difference}
            )
    return found


def outcomes_markdown(summaries: Sequence[Summary], by: str) -> str:
    """Tables by kind and cutoff, policies down."""
    lines = [
        f"Outcomes by {by}{' (minus the distance to the truth)' if by == ORACLE else ''}, higher is better: means over "
        "clips with 95 % bootstrap intervals. Gain is above a random choice; closed: 0 is a random choice, 1 the best "
        "draw of every window.",
    ]
    for kind, cutoff in dict.fromkeys((one["kind"], one["cutoff_hz"]) for one in summaries):
        part = [one for one in summaries if (one["kind"], one["cutoff_hz"]) == (kind, cutoff)]
        titles = [title.format(by=by) for title in OUTCOME.values()]
        lines += ["", f"## {kind}, cutoff {cutoff:g} Hz ({part[0]['clips']} clips)", ""]
        rows = []
        for one in part:
            cells = [interval(one[figure], 3) for figure in OUTCOME if figure != "nfe"]
            difference = "–" if one["difference"] is None else interval(one["difference"], 3, "+")
            rows.append([one["policy"], *cells, f"{one['nfe'].mean:.1f}", difference])
        lines += markdown_table(["policy", *titles, f"against {part[0]['policy']}"], rows)
    return "\n".join(lines) + "\n"


def preview_rows(file: ScoreFile, by: str | None) -> list[Row]:
    """Rank correlation (Spearman) of a verifier's scores of x0-predictions with finished renders, by clip.

    Over the draws of a window, mean over windows. `own` is with the verifier's own score of the render, `by` with the
    column that outcomes go by; 0 where a verifier tells no x0-predictions apart, NaN where renders are alike.
    """
    return [
        {
            "verifier": column,
            "step": step,
            "clip": clip.clip,
            "kind": clip.kind,
            "cutoff_hz": clip.cutoff_hz,
            "own": preview_correlation(clip, step, column, column),
            "by": preview_correlation(clip, step, column, by) if by else np.nan,
        }
        for step, columns in file.previews.items()
        for column in columns
        if column in file.columns
        for clip in file.recordings
    ]


def preview_correlation(clip: Recording, step: int, column: str, final: str) -> float:
    """Mean over a clip's windows; see `preview_rows`."""
    found = []
    for window in clip.windows:
        early, end = window.previews[step][column], window.scores[final]
        both = np.isfinite(early) & np.isfinite(end)
        if both.sum() > 2 and np.ptp(end[both]) > 0:
            found.append(float(spearmanr(early[both], end[both]).statistic) if np.ptp(early[both]) > 0 else 0.0)
    return float(np.mean(found)) if found else np.nan


def summarise_previews(rows: Sequence[Row], plan: SamplingPlan, seed: int) -> Iterator[Summary]:
    """Means over clips by kind, cutoff, verifier and step."""
    for kind, cutoff, part in by_kind_and_cutoff(rows, together=True):
        for column, step in sorted({(row["verifier"], row["step"]) for row in part}):
            mine = [row for row in part if (row["verifier"], row["step"]) == (column, step)]
            yield {
                "kind": kind,
                "cutoff_hz": cutoff,
                "verifier": column,
                "step": step,
                "spent": plan.cost(0, step) / plan.run,
                "own": bootstrap(np.array([row["own"] for row in mine], np.float64), seed),
                "by": bootstrap(np.array([row["by"] for row in mine], np.float64), seed),
            }


def previews_markdown(summaries: Sequence[Summary], by: str | None) -> str:
    """Tables by kind and cutoff, verifiers and steps down."""
    lines = [
        "What scores of x0-predictions are worth: Spearman's rank correlation with the finished render over the draws "
        "of a window; means over clips with 95 % bootstrap intervals. A rung of halving wants about 0.6.",
    ]
    for kind, cutoff in dict.fromkeys((one["kind"], one["cutoff_hz"]) for one in summaries):
        lines += ["", f"## {kind}, cutoff {cutoff:g} Hz", ""]
        rows = []
        for one in (one for one in summaries if (one["kind"], one["cutoff_hz"]) == (kind, cutoff)):
            estimates = interval(one["own"], 2), interval(one["by"], 2)
            rows.append([one["verifier"], str(one["step"]), f"{100 * one['spent']:.0f} %", *estimates])
        lines += markdown_table(
            ["verifier", "step", "share of a run", "with its own score", f"with {by or 'the oracle'}"], rows
        )
    return "\n".join(lines) + "\n"


def preview_figures(file: ScoreFile, by: str | None, seed: int) -> list[Summary]:
    """What scores of x0-predictions tell of finished renders; without `by`, of the oracle where it is there.

    Raises OptionError when the file has no previews, or not the column that is asked for.
    """
    if not file.previews:
        raise OptionError("no previews in the file: they are kept by --search census")
    known = by is not None or ORACLE in file.columns
    rows = preview_rows(file, outcome_column(file, by) if known else None)
    return list(summarise_previews(rows, file.plan, seed))


def to_json(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A summary as JSON has it: estimates as objects, None for NaN."""

    def value(one: Any) -> Any:
        if isinstance(one, Estimate):
            return {name: value(part) for name, part in asdict(one).items()}
        return None if isinstance(one, float) and not np.isfinite(one) else one

    return {name: value(one) for name, one in summary.items()}

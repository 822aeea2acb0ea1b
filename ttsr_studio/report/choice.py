"""How the choice was made, and what the words and units of a report mean, in plain sentences."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MOST_PLACES = 8
"""Stretches that one sentence names."""

UNITS = {
    "-LSD": "log-spectral distance, negated",
    "-distance": "distance to real recordings, negated",
    "-WER": "word error rate, negated",
    "cos": "cosine similarity, −1 to 1",
    "MOS": "opinion score, 1 to 5",
    "1-10": "rating, 1 to 10",
    "dB": "dB",
}
"""Words for the units of verifiers; of all, higher is better."""

TERMS = {
    "Verifier": "A program that scores candidates. Higher is better for all of them; the unit stands below the name.",
    "Role": "Search verifiers choose among the candidates; held-out verifiers only score, as a check on the others.",
    "Input": "The score of the file as it was before the render; – where the verifier cannot score it.",
    "First draw": "The score of the first candidate: what one render without a search would have been.",
    "Mean": "The mean score of all candidates: what a candidate picked at random would have on average.",
    "Gain": "How far the chosen render lies above the mean, in standard deviations over the candidates of a window.",
    "Worse than": "What the chosen render scores below: the input or the first draw; none where it beats both.",
    "Random pick": "Candidates picked by chance and put together the same way: what no search would give.",
    "Candidate": "One of several versions of the missing band that were generated for a window, numbered from 0.",
    "Uncertainty": "Where the candidates differ: what was generated there is a guess.",
    "Cutoff": "Where the band of the input ends. Below it the input is kept, above it is what was generated.",
}
"""Explanations of the terms of page and picture."""

STOPS = {
    "time": "the time set ran out",
    "target": "the score asked for was reached",
    "interrupted": "it was interrupted",
}

Json = Mapping[str, Any]


def how_chosen(report: Json, most: int = MOST_PLACES) -> str:
    """How many candidates there were, who chose by what, and which candidate is where, in one sentence.

    Args:
        report: as JSON.
        most: stretches that are named; the others are counted.
    """
    windows = [window for window in report["windows"] if window["candidates"]]
    if not windows:
        return "Nothing was generated, so nothing was chosen."
    counts = sorted({len(window["candidates"]) for window in windows})
    each = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    line = f"{plural(len(windows), 'window')}, {each} candidate{'' if counts == [1] else 's'} each"
    if counts[-1] > 1:
        line += f", chosen by {unit_of_choice(report)}{chooser(report)}"
    return f"{line}; {where_each(windows, most)}."


def unit_of_choice(report: Json) -> str:
    """What a choice held for."""
    if any(window["segments"] for window in report["windows"]):
        return "segment"
    choice = str(report["search"]["choice"])
    return "whole file" if choice == "clip" else choice


def chooser(report: Json) -> str:
    """By which verifiers, and which of them scored whole renders."""
    clips = {name for name, score in report["scores"].items() if score["scope"] == "clip"}
    clips = {name.split("/")[0] for name in clips}
    search = [name for name, verifier in report["verifiers"].items() if verifier["role"] == "search"]
    by_part, by_clip = [name for name in search if name not in clips], [name for name in search if name in clips]
    words = f" by {in_a_row(by_part)}" if by_part else ""
    if by_clip and report["n_best"]:
        words += f", then among {len(report['n_best'])} whole renders by {in_a_row(by_clip)}"
    return words


def where_each(windows: Sequence[Json], most: int) -> str:
    """Which candidate is where."""
    found = list(stretches(windows))
    if len(found) == 1:
        return f"candidate {found[0][2]} throughout"
    named = [f"{start:.1f}–{stop:.1f} s candidate {number}" for start, stop, number in found[:most]]
    more = f", and {len(found) - most} more stretches" if len(found) > most else ""
    return f"at {', '.join(named)}{more}"


def stretches(windows: Sequence[Json]) -> Iterator[tuple[float, float, int]]:
    """Stretches [s] and the candidate of each; windows overlap, and each is told up to the next."""
    parts = []
    for index, window in enumerate(windows):
        following = windows[index + 1]["start_s"] if index + 1 < len(windows) else window["stop_s"]
        whole = {"start_s": window["start_s"], "stop_s": window["stop_s"], "candidate": window["chosen"]}
        for part in window["segments"] or [whole]:
            stop = min(part["stop_s"], max(following, window["start_s"]))
            if stop > part["start_s"]:
                parts.append((part["start_s"], stop, part["candidate"]))
    start, stop, number = parts[0]
    for begin, end, candidate in parts[1:]:
        if candidate == number and begin <= stop + 1e-6:
            stop = end
        else:
            yield start, stop, number
            start, stop, number = begin, end, candidate
    yield start, stop, number


def stopped_early(report: Json) -> str | None:
    """How many windows were searched less than was asked for, and why; None where none was."""
    cut = report["search"]["cut"]
    if not cut:
        return None
    whole = sum(1 for window in report["windows"] if window["candidates"])
    reasons = ", ".join(f"{count} of {plural(whole, 'window')} because {STOPS[why]}" for why, count in cut.items())
    return f"The search stopped early: {reasons}."


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def in_a_row(names: Sequence[str]) -> str:
    """Names in a sentence."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

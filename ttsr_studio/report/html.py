"""The audition page of a render, `<name>.ttsr.html`: one file to compare input, choice and runners-up by ear and eye.

It asks for nothing else: no network, no other file. What comes from names and reports travels as JSON, and its script
inserts it as text.
"""

import base64
import hashlib
import json
import math
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from ttsr_studio.errors import InputError
from ttsr_studio.report.choice import TERMS, UNITS, how_chosen, stopped_early
from ttsr_studio.report.excerpt import Excerpt, cut, draw_pictures, encode, overlay
from ttsr_studio.report.upgrade import upgrade
from ttsr_studio.storage.atomic import write_atomic

PLAIN = re.compile(r"[A-Za-z0-9_./:\\=+-]+")
"""What no shell makes anything of."""
SHORTEST_LUFS_SECONDS = 0.4
"""A block of BS.1770."""

MIXED = ("--amount=AMOUNT", "--tilt=TILT")
"""Words of a command in which the page puts what its sliders say."""

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Version:
    """A finished render to compare.

    Attributes:
        label: what to call it, e.g. "number 2"; the chosen one's rank is added where there are others.
        path: its audio file, at the output's rate.
        rank: 1 for the best; None for the random pick, which is there to compare with and cannot be chosen.
        score: the combined score, None where nothing was scored.
    """

    label: str
    path: Path
    rank: int | None
    score: float | None


@dataclass(frozen=True)
class Audition:
    """What is to be compared.

    Attributes:
        report: as JSON, of this version or an older one.
        source: the input.
        versions: the render that the report is of, and others.
        arrays: content of the `.ttsr.npz`; without it there is no uncertainty to show.
        command: words that render again with another choice, "{rank}" where its rank goes. Paths in it are absolute,
            and shown relative to the page, or relative to the folder of the page already: there it is to be run.
        seconds: length of the excerpt at most; less where the page would become too large.
    """

    report: Json
    source: Path
    versions: Sequence[Version]
    arrays: Mapping[str, np.ndarray] | None = None
    command: Sequence[str] = ()
    seconds: float = 20.0


def audition_of(
    report: Json,
    output: Path,
    source: Path,
    arrays: Mapping[str, np.ndarray] | None = None,
    command: Sequence[str] = (),
) -> Audition:
    """What there is to compare of a render that lies on disk: those of the best beside it that are there."""
    report = upgrade(report)
    best = [(record, output.with_name(record["name"])) for record in report["best"] if record["name"] != output.name]
    score = {record["name"]: record["score"] for record in report["best"]}.get(output.name)
    versions = [Version("chosen", output, report["tool"]["options"].get("take", 1), score)]
    versions += [
        Version(f"number {record['rank']}", path, record["rank"], record["score"])
        for record, path in best
        if path.is_file()
    ]
    if baseline := report.get("random_baseline"):
        versions.append(Version("random pick", output.with_name(baseline["name"]), None, None))
    return Audition(report, source, versions, arrays, command)


def write_page(target: Path, audition: Audition, app: Json | None = None) -> None:
    """Write the page, whole or not at all.

    Args:
        app: what the page around it needs, where it is one of the app's; its choices are told to that then.

    Raises:
        InputError: a file cannot be read, or is not of this render.
        OutputError: the page cannot be written.
    """
    report = upgrade(audition.report)
    audition = replace(audition, report=report, versions=chosen_first(audition.versions, report))
    write_atomic(target, fill_page({**payload(audition, target.parent), "app": app}))


def payload(audition: Audition, folder: Path) -> Json:
    """What the page's script gets; the page lies in the folder."""
    report = audition.report
    best = {record["rank"]: record for record in report.get("best", ())}
    baseline = report.get("random_baseline")
    records = [baseline if version.rank is None else best.get(version.rank) for version in audition.versions]
    texts = list(tracks(audition, records, folder))
    levels = [track["level_db"] or 0.0 for track in texts]
    files = [version.path for version in audition.versions]
    excerpt, audio, gain_db = encode(cut(report, audition.source, files, audition.seconds), levels)
    pictures, scale = draw_pictures(excerpt, levels)
    nothing = nothing_made(report)
    return {
        "title": report["input"]["name"],
        "facts": list(facts(report)),
        "how": how_chosen(report),
        "stopped": stopped_early(report),
        "terms": TERMS,
        "warnings": [notice["text"] for notice in report["notices"]],
        "tracks": [
            {**track, "audio": sound, "pictures": pair}
            for track, sound, pair in zip(texts, audio, pictures, strict=True)
        ],
        "rate": excerpt.rate,
        "start": excerpt.start,
        "seconds": excerpt.seconds,
        "region": excerpt.region,
        "whole": duration(report["output"]),
        "channels": report["output"]["channels"],
        "gain_db": gain_db,
        "gain_reason": report["output"]["gain_reason"],
        "scale": scale,
        "overlay": None if audition.arrays is None else overlay(audition.arrays, excerpt, scale["rows"]),
        "cutoff_hz": report["input"]["cutoff_hz"] if nothing is None else None,
        "crossover_hz": report["input"]["crossover_hz"] if nothing is None else None,
        "nothing_made": nothing,
        "mixable": nothing is None and is_whole(report),
        "windows": list(windows(report, excerpt, records)),
        "uncertainty": {name: report["uncertainty"][name] for name in ("mean_db", "threshold_db", "regions")},
        "spread_db": report["uncertainty"]["per_second_db"][excerpt.start :][: int(np.ceil(excerpt.seconds))],
        "scores": list(scores(report, records)),
    }


def tracks(audition: Audition, records: Sequence[Json | None], folder: Path) -> Iterator[Json]:
    """Names, levels and commands of every track: the input, the choice, the others; without sound and picture."""
    report = audition.report
    about = {"label": "Input", "name": report["input"]["name"], "rank": 0, "score": None}
    yield {**about, "gain_db": 0.0, "commands": None, "mixed": None, **track_levels(report, report["input"])}
    for number, (version, record) in enumerate(zip(audition.versions, records, strict=True)):
        yield {
            "label": version.label,
            "name": version.path.name,
            "rank": version.rank,
            "score": version.score,
            "gain_db": (record or report["output"])["gain_db"],
            "commands": commands(audition.command, version.rank, folder),
            "mixed": commands(audition.command and [*audition.command, *MIXED], version.rank, folder),
            **track_levels(report, record if number else report["output"]),
        }


def chosen_first(versions: Sequence[Version], report: Json) -> list[Version]:
    """The version that the report is of, then the others by rank. Raises InputError where it is not among them."""
    name = report["output"]["name"]
    rest = {record["name"] for record in report.get("best", ())} - {name}
    named = [version for version in versions if version.path.name == name]
    chosen = named or [version for version in versions if version.rank == 1 and version.path.name not in rest]
    if not chosen:
        raise InputError(f"{name}: an audition page needs the chosen render among its versions")
    others = [version for version in versions if version is not chosen[0]]
    label = f"{chosen[0].label} (number {chosen[0].rank})" if others else chosen[0].label
    return [replace(chosen[0], label=label), *sorted(others, key=lambda version: version.rank or math.inf)]


def track_levels(report: Json, record: Json | None) -> Json:
    """Levels of a file, and what brings it to the loudness of the choice, None where one of them is not known."""
    chosen, own = report["output"]["lufs"], record and record["lufs"]
    return {
        "lufs": own,
        "true_peak_db": record and record["true_peak_db"],
        "level_db": None if chosen is None or own is None else chosen - own,
        "level_unknown": level_unknown(record, duration(report["output"])),
    }


def duration(file: Json) -> float:
    """Seconds."""
    return float(file["frames"] / file["rate"])


def level_unknown(record: Json | None, seconds: float) -> str | None:
    """Why the loudness of a file is not known; None where it is."""
    if record is None:
        return "LUFS not known"
    if record["lufs"] is not None:
        return None
    if record["true_peak_db"] is None:
        return "silent"
    return f"too {'short' if seconds < SHORTEST_LUFS_SECONDS else 'quiet'} for LUFS"


def nothing_made(report: Json) -> str | None:
    """Why nothing was generated; None where something was."""
    if any(window["candidates"] for window in report["windows"]):
        return None
    return "the file is silent" if report["input"]["true_peak_db"] is None else "passed through"


def is_whole(report: Json) -> bool:
    """Whether all that was made is in the renders, as it is, so that the page can mix less of it in."""
    amount = report.get("amount") or {"asked": 1, "tilt_db": 0}
    return bool(amount["asked"] == 1 and amount["tilt_db"] == 0 and not report.get("chain"))


def commands(command: Sequence[str], rank: int | None, folder: Path) -> dict[str, str] | None:
    """The command that makes a rank the choice; None where there is none."""
    return quoted(command, rank, folder) if command and rank is not None else None


def quoted(command: Sequence[str], rank: int, folder: Path) -> dict[str, str]:
    """The command of a rank as the shells take it, to be run in the folder."""
    words = [relative(str(rank) if word == "{rank}" else word, folder) for word in command]
    power = [word if PLAIN.fullmatch(word) else "'" + re.sub("(['‘’‚‛])", r"\1\1", word) + "'" for word in words]
    prompt = [word if PLAIN.fullmatch(word) else f'"{word}"' for word in words]
    return {
        "macOS, Linux": shlex.join(words),
        "Windows PowerShell": " ".join(power),
        "Windows Command Prompt": " ".join(prompt),
    }


def relative(word: str, folder: Path) -> str:
    """An absolute path seen from the folder, other words as they are."""
    if not Path(word).is_absolute():
        return word
    try:
        return os.path.relpath(word, folder.absolute())
    except ValueError:  # on another drive
        return Path(word).name


def facts(report: Json) -> Iterator[tuple[str, str]]:
    """What the report says of the render, in words."""
    tool, found, made, timing = (report[name] for name in ("tool", "input", "output", "timing"))
    search, spread = report["search"], report["uncertainty"]["mean_db"]
    count = max((len(window["candidates"]) for window in report["windows"]), default=0)
    yield "Made by", f"{tool['name']} {tool['version']}, {tool['engine']} engine, preset {tool['preset'] or 'none'}"
    yield "Seed", str(tool["seed"])
    yield "Input", file_text(found)
    yield "Input level", level_text(found)
    yield "Output", file_text(made)
    yield "Output level", level_text(made)
    yield "Gain", f"{number(made['gain_db'], 2, '+')} dB: {made['gain_reason']}"
    if why := nothing_made(report):
        yield "Generated", f"nothing: {why}"
    else:
        edge = "none" if found["cutoff_hz"] is None else f"{found['cutoff_hz'] / 1000:.2f} kHz"
        yield "Cutoff", f"{edge}: {found['cutoff_reason']}"
        if found["codec"]:
            yield "Origin", found["codec"]
        yield "Crossover", " to ".join(f"{hz / 1000:.2f}" for hz in found["crossover_hz"]) + " kHz"
        yield "Search", f"{search['name']}, {count} candidates a window, a choice for a {search['choice']}"
        yield "Candidates differ", "not known" if spread is None else f"by {spread:.1f} dB above the cutoff"
    for best in report.get("best", ()):
        if best.get("differs"):
            yield f"Number {best['rank']}", f"beside the best: {best['differs']}"
    yield "Cost", f"{timing['nfe']:,} network evaluations, {timing['wall_s']:.1f} s on {tool['device']}"


def file_text(file: Json) -> str:
    channels = {1: "mono", 2: "stereo"}.get(file["channels"], f"{file['channels']} channels")
    return f"{file['rate']} Hz, {file['depth']}, {channels}; SHA-256 {file['sha256'][:12]}…"


def level_text(file: Json) -> str:
    if file["true_peak_db"] is None:
        return "silent"
    loudness = level_unknown(file, duration(file)) or f"{number(file['lufs'], 2)} LUFS-I"
    return f"{loudness}, {number(file['true_peak_db'], 2)} dBTP"


def number(value: float | None, digits: int, sign: str = "") -> str:
    return "–" if value is None else f"{value:{sign}.{digits}f}".replace("-", "−")


def windows(report: Json, excerpt: Excerpt, records: Sequence[Json | None]) -> Iterator[Json]:
    """The windows that the excerpt touches; its parts are [start, stop, candidates by version, None for unknown]."""
    stop = excerpt.start + excerpt.seconds
    sounding = [window["index"] for window in report["windows"] if window["candidates"]]
    for window in report["windows"]:
        if window["stop_s"] <= excerpt.start or window["start_s"] >= stop:
            continue
        picks = [picked(window, record, sounding) for record in records]
        picks[0] = [part["candidate"] for part in window["segments"]] or [window["chosen"]]
        count = max(map(len, picks))
        edges = [window["start_s"], *(part["stop_s"] for part in window["segments"])]
        if len(edges) != count + 1:
            edges = np.linspace(window["start_s"], window["stop_s"], count + 1).tolist()
        every = [list(pick) * count if len(pick) == 1 else pick for pick in picks]
        yield {
            "index": window["index"],
            "count": len(window["candidates"]),
            "reason": window["reason"],
            "parts": [
                [*edge, chosen] for *edge, chosen in zip(edges, edges[1:], zip(*every, strict=True), strict=False)
            ],
        }


def picked(window: Json, record: Json | None, sounding: Sequence[int]) -> Sequence[int | None]:
    """The candidates of a window in one of the best renders, by segment."""
    if record is None or "candidates" not in record or not window["candidates"]:
        return [None]
    picks: Sequence[int] = record["candidates"][sounding.index(window["index"])]
    return picks


def scores(report: Json, records: Sequence[Json | None]) -> Iterator[Json]:
    """The scores of every verifier, of the other versions too where they are known."""
    columns = ("role", "scope", "input", "first", "mean", "gain_sd", "harm")
    for name, score in report["scores"].items():
        others = [version_score(report, record, name, score) for record in records[1:]]
        unit = report["verifiers"].get(name.split("/")[0], {}).get("unit", "")
        yield {
            "name": name,
            "unit": UNITS.get(unit, unit),
            "versions": [score["chosen"], *others],
            **{c: score[c] for c in columns},
        }


def version_score(report: Json, record: Json | None, name: str, score: Json) -> float | None:
    """A verifier's score of another version than the choice; None where it is not known."""
    if record is not None and "candidates" not in record:
        known: float | None = score["random_baseline"]
        return known
    return None if score["scope"] == "clip" else mean_score(report, record, name)


def mean_score(report: Json, record: Json | None, name: str) -> float | None:
    """A verifier's mean score of a version; None unless every window of it is one candidate throughout."""
    sounding = [window["candidates"] for window in report["windows"] if window["candidates"]]
    if record is None or not sounding or any(len(set(picks)) > 1 for picks in record["candidates"]):
        return None
    chosen = zip(sounding, record["candidates"], strict=True)
    values = [candidates[picks[0]]["scores"].get(name) for candidates, picks in chosen]
    return None if None in values else float(np.mean(values))


def fill_page(payload: Json) -> bytes:
    """The page: one file with its own style and script, which alone are allowed, by their checksums."""
    names = [
        "page.html",
        "page.css",
        "page_sound.js",
        "page_view.js",
        *["page_app.js"] * bool(payload["app"]),
        "page.js",
    ]
    template, style, *scripts = (
        files("ttsr_studio.report").joinpath(name).read_text(encoding="utf-8") for name in names
    )
    script = "\n".join(scripts)
    text = json.dumps(payload, allow_nan=False).replace("<", "\\u003c")
    policy = f"default-src 'none'; script-src {checksum(script)}; style-src {checksum(style)}; img-src data:"
    policy += "; base-uri 'none'; form-action 'none'"
    return Template(template).substitute(policy=policy, style=style, script=script, data=text).encode()


def checksum(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

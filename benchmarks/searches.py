"""Searches and rules of choice at equal evaluations: `python benchmarks/searches.py COMMAND SOURCE OUT`.

draws     keeps the scores of many random draws of every window, in OUT/rewards.jsonl, the truth among them.
rules     tables of such a file, by replay: every rule of choice by clip, window and segment, what a choice by window or
          segment is worth in draws by clip, and where each rule begins to be gamed.
table     real renders by every search with a choice by clip, window and segment, in OUT/table.jsonl, and their tables:
          distance to the truth, searched and held-out scores, what listeners would say, and what the best choice of
          the candidates would have had, against random search by clip, paired by programme.
diverse   renders that `--diverse` chooses beside the plain next best: how far apart, and what that costs in score.

SOURCE is a manifest as `ttsr evaluate` takes it; its clips of a kind are joined end to end into mono programmes. What
is done already is not done again. For the whole table: `table SOURCE OUT --apart --join 6 --seconds 6 --limit 4`.
"""

import csv
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import torch

from ttsr_studio.analysis.difference import band_distances, spread_out
from ttsr_studio.analysis.spectra import bins_between, log_distance, power_spectrogram
from ttsr_studio.audio.bandwidth.map import BandwidthMap
from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.audio.level import active_rms
from ttsr_studio.engines.builtin.engine import BuiltinEngine
from ttsr_studio.evaluation.benchmark.concatenate import join_clips
from ttsr_studio.evaluation.benchmark.dataset import RATE, Clip, load_corpus
from ttsr_studio.evaluation.benchmark.degradation import Conditions, Item
from ttsr_studio.evaluation.benchmark.perceptual import LISTENERS, opinion
from ttsr_studio.evaluation.benchmark.systems import weights_of
from ttsr_studio.evaluation.replay.collect import ScoreCollection
from ttsr_studio.evaluation.replay.estimate import replay
from ttsr_studio.evaluation.replay.overoptimization import ratio
from ttsr_studio.evaluation.replay.policy import Policy
from ttsr_studio.evaluation.replay.scaling import clip_groups, estimates, trace
from ttsr_studio.evaluation.replay.score_file import ScoreFile, read_score_file
from ttsr_studio.evaluation.reporting.bootstrap import bootstrap, mean_known, paired
from ttsr_studio.evaluation.reporting.tables import interval, markdown_table
from ttsr_studio.evaluation.sweep import EvaluationRun, Results, cases_with_band, finite, sweep
from ttsr_studio.evaluation.verifier_study.candidates import DrawnWindow, drawn_windows
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.group import GroupResult
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.rendering.inference.timing import Stages
from ttsr_studio.rendering.inference.windows import (
    FileSearch,
    JoinedWindow,
    SearchInput,
    SearchRun,
    search_here,
    search_windows,
)

JUDGES = ("critic", "consensus", "typical", "continuity")


def programmes(
    source: Path, out: Path, seconds: float, limit: int | None, kinds: tuple[str, ...] = (), apart: bool = False
) -> list[Clip]:
    """Programmes of all kinds in turn, so that a run that is stopped has some of each.

    Args:
        apart: only the first clip of each speaker or class.
    """
    clips = load_corpus(source, kinds)
    if apart:
        clips = first_of_each(source, clips)
    joined = join_clips(clips, seconds, out / "programmes")
    parts = [[clip for clip in joined if clip.kind == kind] for kind in dict.fromkeys(clip.kind for clip in joined)]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*(part[:limit] for part in parts)))
    return [clip for clip in turns if clip is not None]


def first_of_each(source: Path, clips: list[Clip]) -> list[Clip]:
    """The first clip of every `speaker_or_class` of a manifest."""
    with source.open(newline="", encoding="utf-8") as file:
        owner = {row["file"]: row["speaker_or_class"] for row in csv.DictReader(file)}
    return list({owner[clip.name]: clip for clip in reversed(clips)}.values())[::-1]


@click.group()
def main() -> None:
    """Searches and rules of choice at equal evaluations."""
    torch.set_num_threads(1)


def given(command: click.Command) -> click.Command:
    """The arguments that every command takes."""
    for add in (
        click.option("--seed", default=0, show_default=True),
        click.option("--cutoff", default=4000.0, show_default=True),
        click.option("--kind", "kinds", multiple=True, help="Only this kind; repeatable."),
        click.option("--limit", type=int, help="Programmes of each kind."),
        click.option("--seconds", type=float, help="Only so much of each programme."),
        click.option("--join", default=10.0, show_default=True, help="Length of a programme in seconds, at least."),
        click.argument("out", type=click.Path(path_type=Path)),
        click.argument("source", type=click.Path(exists=True, path_type=Path)),
    ):
        command = add(command)
    return command


@main.command()
@given
@click.option("--draws", default=64, show_default=True, help="Of every window.")
@click.option(
    "--choice",
    type=click.Choice(["window", "segment"]),
    default="segment",
    show_default=True,
    help="Whether segments are scored too, which takes twice as long.",
)
@click.option("--judge", "judges", multiple=True, default=JUDGES, show_default=True)
def draws(source: Path, out: Path, join: float, seconds: float | None, limit: int | None, **told: object) -> None:
    """Keep the scores of random draws of every window; goes on where it was stopped."""
    options = RenderOptions(
        candidates=told["draws"], verifiers=told["judges"], scope="window", choice=told["choice"], witness=True,
        seed=told["seed"],
    )  # fmt: skip
    run = EvaluationRun(Conditions((told["cutoff"],), "brick", seconds), Results(out / "rewards.jsonl"))
    cases = cases_with_band(programmes(source, out, join, limit, told["kinds"]), run.conditions.cutoffs)
    for number, line in enumerate(sweep(ScoreCollection(Session(options)), cases, run), 1):
        click.echo(f"{number} {line['clip']} window {line['window']}: {len(line['candidates'])} draws")
    for reason in run.reporter.failures:
        click.echo(reason, err=True)


VOTERS = ("critic", "consensus")
RULES = {
    "zsum": Policy("", VOTERS, ensemble="zsum"),
    "rank": Policy("", VOTERS, ensemble="rank"),
    "minrank": Policy("", VOTERS, ensemble="minrank"),
    "shrunk": Policy("", VOTERS, ensemble="shrunk"),
    "pessimism": Policy("", (*VOTERS, "typical"), ensemble="pessimism"),
    "poisson, zsum": Policy("", VOTERS, search="poisson", ensemble="zsum"),
    "critic": Policy("", ("critic",)),
    "critic, pessimism": Policy("", ("critic", "typical"), ensemble="pessimism"),
    "critic, poisson": Policy("", ("critic",), search="poisson"),
}
"""Of windows and clips; segments are chosen by sums of deviations."""

DEFAULT = "zsum"
ORDERS = 200


def gains(policy: Policy, file: ScoreFile, column: str, seed: int) -> np.ndarray:
    """What a policy gains of a column above a random draw, by programme."""
    rows = replay([replace(policy, name="policy")], file, column, ORDERS, seed)
    return np.array([row["gain"] for row in rows])


def held_out(file: ScoreFile, policy: Policy) -> list[str]:
    return ["lsd", *(name for name in file.columns if name not in (*policy.verifiers, "typical", "lsd"))]


@main.command()
@click.argument("out", type=click.Path(exists=True, path_type=Path))
@click.option("--kind", help="Only programmes of this kind.")
@click.option("--seed", default=0, show_default=True)
def rules(out: Path, kind: str | None, seed: int) -> None:
    """Tables of kept draws."""
    file = read_score_file(out / "rewards.jsonl")
    file = ScoreFile.of([one for one in file.recordings if kind in (None, one.kind)], file.plan)
    most, run = min(recording.count for recording in file.recordings), file.plan.run
    kinds = [recording.kind for recording in file.recordings]
    click.echo(
        f"{len(kinds)} programmes ({', '.join(f'{kinds.count(k)} {k}' for k in dict.fromkeys(kinds))}), "
        f"{sum(len(r.windows) for r in file.recordings)} windows, {most} draws of {run} evaluations"
    )
    several = any(len(recording.windows) > 1 for recording in file.recordings)
    choices = ["clip", *(["window"] if several else []), *(["segment"] if file.segments else [])]
    sizes = [n for n in (8, 16, 32, 64, 128, 256) if n <= most]
    for lines in (
        by_choice(file, choices, sizes, seed),
        by_rule(file, choices, sizes[-1], seed),
        effective(file, choices, sizes, seed),
        gamed(file, seed),
    ):
        click.echo("\n" + "\n".join(lines))


def by_choice(file: ScoreFile, choices: list[str], sizes: list[int], seed: int) -> list[str]:
    """The default rule by clip, window and segment, against one by clip with as many draws and with twice as many."""
    rows, policy = [], RULES[DEFAULT]
    for column in held_out(file, policy):
        by_clip = {n: gains(replace(policy, choice="clip", n=n), file, column, seed) for n in sizes}
        for choice in choices:
            for n in sizes:
                mine = gains(ruled(policy, choice, n), file, column, seed)
                twice = interval(paired(mine, by_clip[2 * n], seed).estimate, 3, "+") if 2 * n in by_clip else "–"
                same = "–" if choice == "clip" else interval(paired(mine, by_clip[n], seed).estimate, 3, "+")
                rows.append([column, choice, str(n * file.plan.run), interval(bootstrap(mine, seed), 3), same, twice])
    titles = ["gain of", "choice by", "evaluations", "gain", "against clip", "against clip, twice the evaluations"]
    return markdown_table(titles, rows, titles[:2])


def ruled(policy: Policy, choice: str, n: int) -> Policy:
    """A rule by clip, window or segment, where sums of deviations are all that there is but for pessimism."""
    rule = "zsum" if choice == "segment" and policy.ensemble != "pessimism" else policy.ensemble
    return replace(policy, choice=choice, n=n, ensemble=rule)


def by_rule(file: ScoreFile, choices: list[str], n: int, seed: int) -> list[str]:
    """Every rule with all draws, against the default rule with the same choice."""
    rows = []
    for choice in choices:
        known = dict.fromkeys((name, ruled(policy, choice, n)) for name, policy in RULES.items())
        seen: set[Policy] = set()
        base = {column: gains(ruled(RULES[DEFAULT], choice, n), file, column, seed) for column in ("lsd", "continuity")}
        for name, policy in known:
            if policy in seen:
                continue
            seen.add(policy)
            cells = []
            for column in ("lsd", "continuity"):
                mine = gains(policy, file, column, seed)
                cells += [
                    interval(bootstrap(mine, seed), 3),
                    interval(paired(mine, base[column], seed).estimate, 3, "+"),
                ]
            rows.append([choice, name, *cells])
    titles = ["choice by", "rule", "gain of lsd", f"against {DEFAULT}", "gain of continuity", f"against {DEFAULT} "]
    return markdown_table(titles, rows, titles[:2])


def effective(file: ScoreFile, choices: list[str], sizes: list[int], seed: int) -> list[str]:
    """How many draws, chosen by clip by the same rule, gain as much of the truth as a choice by window or segment."""
    rows, policy = [], RULES[DEFAULT]
    curve_sizes = [2**k for k in range(sizes[-1].bit_length())]
    curve = np.stack([gains(replace(policy, choice="clip", n=n), file, "lsd", seed) for n in curve_sizes], axis=1)
    kinds = np.array([recording.kind for recording in file.recordings])
    for choice in choices[1:]:
        for n in (8, 16):
            mine = gains(ruled(policy, choice, n), file, "lsd", seed)
            for kind in [*dict.fromkeys(kinds), "all kinds"]:
                part = np.flatnonzero((kinds == kind) | (kind == "all kinds"))
                drawn = np.random.default_rng(seed).choice(part, (2000, len(part)))
                worth = [draws_worth(curve[rows_].mean(0), mine[rows_].mean(), curve_sizes) for rows_ in (part, *drawn)]
                low, high = np.quantile(worth[1:], (0.025, 0.975))
                told = [
                    f"{x:.0f}" if x < 2 * curve_sizes[-1] else f"over {curve_sizes[-1]}" for x in (worth[0], low, high)
                ]
                rows.append([choice, str(n), kind, str(len(part)), f"{told[0]} [{told[1]}, {told[2]}]"])
    return markdown_table(
        ["choice by", "draws", "kind", "programmes", "worth so many by clip"], rows, ("choice by", "kind")
    )


def draws_worth(curve: np.ndarray, gain: float, sizes: list[int]) -> float:
    """Where a curve of gains by 1, 2, 4 ... draws has a gain; twice the most where it never has."""
    curve = np.maximum.accumulate(curve)
    if gain > curve[-1]:
        return 2.0 * sizes[-1]
    return float(2 ** np.interp(gain, curve, np.arange(len(sizes))))


def gamed(file: ScoreFile, seed: int) -> list[str]:
    """What the truth and held-out verifiers gain for every deviation that a rule's own verifiers gain, as N grows."""
    group, rows, sizes = clip_groups(file)[-1], [], ()
    for name, policy in RULES.items():
        curve = trace(policy, file, seed)
        sizes = curve.sizes[1:]
        own = [c for c in curve.members if c != "typical"]
        searched = group.by_clip(np.mean([curve.gains[c] for c in own], axis=0))
        for column in held_out(file, policy):
            other = group.by_clip(curve.gains[column])
            followed = estimates([other, searched], ratio, seed)[1:]
            peak = curve.sizes[int(np.nanargmax(np.nanmean(other, axis=0)))]
            drawn = [n for n in sizes if n > 2 or policy.search == "random"]  # poisson draws one of one or two
            cells = [f"{one.mean:.2f}" if n in drawn else "–" for n, one in zip(sizes, followed, strict=True)]
            fall = estimates([other, searched], last_against_eight(curve.sizes), seed)[0]
            rows.append([name, column, *cells, interval(fall, 2, "+"), str(peak)])
    titles = ["rule", "held out", *(f"N = {n}" for n in sizes), "from 8 to the largest", "gain is largest at N"]
    return markdown_table(titles, rows, titles[:2])


def last_against_eight(sizes: tuple[int, ...]) -> Callable[..., np.ndarray]:
    early = sizes.index(8)
    return lambda h, s: ratio(h, s)[..., -1:] - ratio(h, s)[..., early : early + 1]


SEARCHES = {
    "random": {"search": "random"},
    "poisson": {"search": "poisson"},
    "zero-order": {"search": "zero-order"},
    "paths": {"search": "paths"},
    "halving": {"search": "halving"},
    "halving, tuned": {"search": "halving", "settings": (("keep", "0.25"), ("rungs", "0.25,0.5,0.75"))},
    "screen": {"search": "screen"},
    "polish": {"search": "polish"},
    "steering": {"search": "steering"},
    "steering, funnel": {"search": "steering", "settings": (("funnel", "0.25,1"),)},
    "gradient": {"search": "gradient"},
    "evolution": {"search": "evolution"},
    "tree": {"search": "tree"},
}
CHOICES = ("clip", "window", "segment")
HELD_OUT = ("continuity",)


@main.command()
@given
@click.option("--apart", is_flag=True, help="Only the first clip of each speaker or class of the manifest.")
@click.option("--nfe", "budgets", multiple=True, type=int, default=[64], show_default=True, help="Of a window.")
@click.option("--search", "names", multiple=True, type=click.Choice([*SEARCHES]), default=[*SEARCHES])
@click.option("--choice", "choices", multiple=True, type=click.Choice(CHOICES), default=CHOICES, show_default=True)
@click.option(
    "--listener", "listeners", multiple=True, type=click.Choice([each.column for each in LISTENERS]), help="Asked too."
)
def table(source: Path, out: Path, join: float, seconds: float | None, limit: int | None, **told: object) -> None:
    """Render programmes by every search with every choice, guided by critic + consensus, and compare them."""
    run = EvaluationRun(Conditions((told["cutoff"],), "brick", seconds), Results(out / "table.jsonl"))
    clips = programmes(source, out, join, limit, told["kinds"], told["apart"])
    session, rows = None, []
    runs = runs_of(told["choices"], not seconds or seconds > BuiltinEngine.core_seconds)
    for case in cases_with_band(clips, run.conditions.cutoffs):
        for nfe, name, choices in itertools.product(told["budgets"], told["names"], runs):
            options = RenderOptions(
                candidates=None, budget=f"{nfe}nfe", verifiers=VOTERS, hold_out=HELD_OUT, ensemble="zsum",
                scope="window", choice=choices[-1], seed=told["seed"], **SEARCHES[name],
            )  # fmt: skip
            session = session.with_options(options) if session else Session(options)
            for row in sweep(TableStudy(session, name, nfe, choices, told["listeners"]), [case], run):
                rows.append(row)
                click.echo(f"{row['clip']} {nfe} {name} {row['choice']}: {row['lsd']:.3f}, {row['seconds']:.1f} s")
    for lines in ([], *table_lines(rows, told["seed"])):
        click.echo("\n".join(lines))
    for reason in run.reporter.failures:
        click.echo(reason, err=True)


def runs_of(choices: tuple[str, ...], several: bool) -> list[tuple[str, ...]]:
    """Choices by the searches that serve them: windows and segments choose from the same candidates.

    Args:
        several: whether a programme has several windows; in one, a choice by clip is one by window, of one search.
    """
    if not several:
        return [tuple(choice for choice in choices if choice != "window")]
    apart = tuple(choice for choice in ("window", "segment") if choice in choices)
    return [run for run in (("clip",) if "clip" in choices else (), apart) if run]


@dataclass
class Kept:
    """Searches groups of windows once, and gives the same results again for other choices from them."""

    results: list[GroupResult | None] | None = None

    def __call__(self, search: FileSearch) -> Iterator[GroupResult | None]:
        if self.results is None:
            self.results = list(search_here(search))
        yield from self.results


@dataclass(frozen=True)
class TableStudy:
    """A search's renders of a programme: distance to the truth, scores, and what its candidates could have given.

    Attributes:
        session: of the last of the choices.
        nfe: evaluations that a window and channel may take.
        choices: made from the candidates of one search.
        listeners: measures that are asked beside.
    """

    session: Session
    name: str
    nfe: int
    choices: tuple[str, ...]
    listeners: tuple[str, ...]

    def find(self, clip: Clip, cutoff_hz: float, run: EvaluationRun) -> list[dict] | None:
        return run.results.find([self.key(clip, cutoff_hz, run, choice) for choice in self.choices])

    def key(self, clip: Clip, cutoff_hz: float, run: EvaluationRun, choice: str) -> str:
        options = replace(self.session.options, choice=choice).to_json()
        return run.row_key(
            clip, cutoff_hz, table=1, listeners=self.listeners, options=options, weights=weights_of(self.session)
        )

    def measure(self, item: Item, run: EvaluationRun) -> Iterator[dict]:
        own, stages, kept = ScoreCollection(self.session).with_noises_of(item.clip, run), Stages(), Kept()
        audio, began, seconds = item.lr_wide(), time.process_time(), None
        with Scratch(audio.shape[0]) as lr:
            lr.append(audio)
            source = SearchInput(lr, BandwidthMap.constant(item.kept_hz), active_rms(audio, RATE))
            for choice in reversed(self.choices):  # segments first: what they need is scored in the one search
                session = own.with_options(replace(own.options, choice=choice))
                steps = list(search_windows(session, source, SearchRun(stages, lambda event: None, searcher=kept)))
                seconds = time.process_time() - began if seconds is None else seconds
                loud = [step for step in steps if step.candidates]
                yield {
                    "key": self.key(item.clip, item.cutoff_hz, run, choice), "clip": item.clip.name,
                    "kind": item.clip.kind, "search": self.name, "nfe": self.nfe, "choice": choice,
                    "spent": stages.network.nfe / max(1, len(loud)), "seconds": seconds,
                    "candidates": float(np.mean([len(step.candidates.audio) for step in loud])),
                    **choices_by_truth(item, loud, choice, source.level / own.engine.input_rms),
                    **told_of(item, np.concatenate([step.finished[0] for step in steps], axis=1), self.listeners),
                    "scores": mean_scores(loud),
                }  # fmt: skip


def told_of(item: Item, made: np.ndarray, listeners: tuple[str, ...]) -> dict[str, float | None]:
    """Distance to the truth above the cutoff, and what listeners would say, of a render [channels, samples]."""
    truth, bins = item.truth[:, : made.shape[1]], bins_between(item.cutoff_hz, item.clip.edge_hz, RATE)
    powers = [power_spectrogram(torch.from_numpy(x))[:, bins] for x in (made, truth)]
    heard = {each.column: finite(opinion(each, truth, made)) for each in LISTENERS if each.column in listeners}
    return {"lsd": float(log_distance(*powers).mean()), **heard}


def mean_scores(steps: Sequence[JoinedWindow]) -> dict[str, float]:
    """Scores of what was chosen, by column, means over windows; joined segments count as they were joined."""
    found: dict[str, list[float]] = {}
    for step in steps:
        chosen = {name: step.selections[0].mean(values) for name, values in step.candidates.scores.items()}
        for name, value in (chosen | step.scores).items():
            found.setdefault(name, []).append(value)
    return {name: mean_known(found[name]) for name in (*VOTERS, *HELD_OUT)}


def choices_by_truth(item: Item, steps: Sequence[JoinedWindow], choice: str, scale: float) -> dict[str, float]:
    """Distance to the truth of what was chosen, of the best choice and of a random one, the price of seams left out.

    Means over windows or segments of distances within them, of finished candidates alone.
    """
    found, chosen, weights = [], [], []
    for step in steps:
        edges = step.candidates.edges if choice == "segment" else (0, step.window.stop - step.window.start)
        audio, picked = step.candidates.audio, step.selections[0]
        window = DrawnWindow(
            step.candidates,
            torch.stack(list(audio.values())) * scale,
            torch.from_numpy(item.truth[:, step.window.start : step.window.stop]),
        )
        apart = [window.distances(item, start, stop) for start, stop in itertools.pairwise(edges)]
        numbers = picked.numbers if picked.edges == tuple(edges) else picked.numbers[:1] * len(apart)
        chosen += [one[list(audio).index(number)] for one, number in zip(apart, numbers, strict=True)]
        found, weights = found + apart, weights + list(np.diff(edges))
    best = np.average(found, axis=0, weights=weights).min() if choice == "clip" else None
    return {
        "chosen": float(np.average(chosen, weights=weights)),
        "oracle": float(np.average([one.min() for one in found], weights=weights) if best is None else best),
        "mean_draw": float(np.average([one.mean() for one in found], weights=weights)),
    }


def score_of(name: str) -> Callable[[dict], float]:
    return lambda row: row["scores"][name]


def heard_by(name: str) -> Callable[[dict], float]:
    return lambda row: np.nan if row.get(name) is None else row[name]


MEASURES: dict[str, Callable[[dict], float]] = {
    "less LSD": lambda row: -row["lsd"],
    **{name: score_of(name) for name in VOTERS},
    **{f"{name}, held out": score_of(name) for name in HELD_OUT},
    **{each.column: heard_by(each.column) for each in LISTENERS},
    "the truth's choice: less LSD": lambda row: -row["oracle"],
}
"""What is compared, higher is better; the last with the choice of random by clip, not with the truth's."""


def base_of(measure: str, row: dict) -> float:
    return -row["chosen"] if measure == list(MEASURES)[-1] else MEASURES[measure](row)


def table_lines(rows: list[dict], seed: int) -> Iterator[list[str]]:
    """Tables for every budget: searches and choices against random by clip, and against it at twice the evaluations."""
    cells: dict[tuple[int, str, str], dict[str, dict]] = {}
    for row in rows:
        cells.setdefault((row["nfe"], row["search"], row["choice"]), {})[row["clip"]] = row
    for nfe, times in itertools.product(sorted({nfe for nfe, _, _ in cells}), (1, 2)):
        base = cells.get((times * nfe, "random", "clip"))
        if base is None:
            continue
        lines, known = (
            [],
            [name for name in MEASURES if np.isfinite([base_of(name, row) for row in base.values()]).any()],
        )
        for (_, search, choice), mine in ((where, cell) for where, cell in cells.items() if where[0] == nfe):
            clips = [clip for clip in base if clip in mine]
            apart = [
                np.array([MEASURES[name](mine[clip]) - base_of(name, base[clip]) for clip in clips]) for name in known
            ]
            spent, seconds = (np.mean([mine[clip][name] for clip in clips]) for name in ("spent", "seconds"))
            told = [interval(bootstrap(each, seed), 3, "+") for each in apart]
            lines.append([search, choice, str(len(clips)), f"{spent:.0f}", f"{seconds:.1f}", *told])
        titles = ["search", "choice by", "programmes", "evaluations", "CPU s", *known]
        head = f"{nfe} evaluations, against random by clip with {times * nfe}:"
        means = (f"{name} {np.nanmean([base_of(name, row) for row in base.values()]):.3f}" for name in known)
        yield [head, f"(which has {', '.join(means)})", "", *markdown_table(titles, lines, titles[:2]), ""]


@main.command()
@given
@click.option("--draws", default=16, show_default=True)
@click.option("--top", default=4, show_default=True, help="Renders that are kept.")
def diverse(source: Path, out: Path, join: float, seconds: float | None, limit: int | None, **told: object) -> None:
    """Compare the renders of --diverse with the plain next best, window by window."""
    options = RenderOptions(
        candidates=told["draws"], verifiers=VOTERS, ensemble="zsum", scope="window", choice="window", seed=told["seed"]
    )
    study = DiverseStudy(Session(options), told["top"])
    run = EvaluationRun(Conditions((told["cutoff"],), "brick", seconds), Results(out / "diverse.jsonl"))
    cases = cases_with_band(programmes(source, out, join, limit, told["kinds"]), run.conditions.cutoffs)
    rows = list(sweep(study, cases, run))
    lines = []
    for figure in ("distance", "nearest", "score", "lsd"):
        plain, spread = (np.array([row[way][figure] for row in rows]) for way in ("plain", "diverse"))
        cells = (bootstrap(plain, 0), bootstrap(spread, 0), paired(spread, plain, 0).estimate)
        lines.append(
            [FIGURES[figure], *(interval(each, 3, sign) for each, sign in zip(cells, ("", "", "+"), strict=True))]
        )
    click.echo(f"{len(rows)} programmes, the best {told['top']} of {told['draws']}")
    click.echo("\n".join(markdown_table(["", "plain", "--diverse", "difference, paired"], lines)))


FIGURES = {
    "distance": "mean pairwise distance, dB",
    "nearest": "distance of the two that are most alike, dB",
    "score": "mean score, sd of the candidates",
    "lsd": "mean LSD to the truth",
}


@dataclass(frozen=True)
class DiverseStudy:
    """The K best and the K that differ: how far apart, how good."""

    session: Session
    top: int

    name = "diverse"

    def find(self, clip: Clip, cutoff_hz: float, run: EvaluationRun) -> list[dict] | None:
        return run.results.find([self.key(clip, cutoff_hz, run)])

    def key(self, clip: Clip, cutoff_hz: float, run: EvaluationRun) -> str:
        return run.row_key(clip, cutoff_hz, diverse=self.top, options=self.session.options.to_json())

    def measure(self, item: Item, run: EvaluationRun) -> Iterator[dict]:
        found: dict[str, list[dict[str, float]]] = {"plain": [], "diverse": []}
        for window in drawn_windows(self.session, item):
            quality = window.candidates.combined(self.session.panel, range(len(window.renders))).values
            apart = band_distances(torch.stack(list(window.candidates.audio.values())), item.cutoff_hz, RATE)
            order, away = np.argsort(-quality, kind="stable"), window.distances(item)
            chosen = {
                "plain": list(order[: self.top]),
                "diverse": spread_out(quality, apart, int(order[0]), self.top),
            }
            for way, numbers in chosen.items():
                pairs = [apart[a, b] for a, b in itertools.combinations(numbers, 2)]
                found[way].append({
                    "distance": float(np.mean(pairs)), "nearest": float(np.min(pairs)),
                    "score": float((quality[numbers].mean() - quality.mean()) / quality.std()),
                    "lsd": float(away[numbers].mean()),
                })  # fmt: skip
        means = {
            way: {name: float(np.mean([w[name] for w in every])) for name in FIGURES} for way, every in found.items()
        }
        yield {"key": self.key(item.clip, item.cutoff_hz, run), "clip": item.clip.name, "kind": item.clip.kind, **means}


if __name__ == "__main__":
    main()

"""Searches and rules of choice at equal evaluations: `python benchmarks/searches.py COMMAND SOURCE OUT`.

draws     keeps the scores of many random draws of every window, in OUT/rewards.jsonl, the truth among them.
rules     tables of such a file, by replay: every rule of choice by clip, window and segment, what a choice by window or
          segment is worth in draws by clip, and where each rule begins to be gamed.
renders   real renders by searches that cannot be replayed, one by one, in OUT/renders.jsonl, and their table: less
          distance to the truth than random search by clip has, paired by programme, and the held-out scores.
diverse   renders that `--diverse` chooses beside the plain next best: how far apart, and what that costs in score.

SOURCE is a manifest as `ttsr evaluate` takes it; its clips of a kind are joined end to end into mono programmes. What
is done already is not done again.
"""

import itertools
from collections.abc import Callable, Iterator
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
from ttsr_studio.evaluation.benchmark.concatenate import join_clips
from ttsr_studio.evaluation.benchmark.dataset import RATE, Clip, load_corpus
from ttsr_studio.evaluation.benchmark.degradation import Conditions, Item
from ttsr_studio.evaluation.replay.collect import ScoreCollection
from ttsr_studio.evaluation.replay.estimate import replay
from ttsr_studio.evaluation.replay.overoptimization import ratio
from ttsr_studio.evaluation.replay.policy import Policy
from ttsr_studio.evaluation.replay.scaling import clip_groups, estimates, trace
from ttsr_studio.evaluation.replay.score_file import ScoreFile, read_score_file
from ttsr_studio.evaluation.reporting.bootstrap import bootstrap, paired
from ttsr_studio.evaluation.reporting.tables import interval, markdown_table
from ttsr_studio.evaluation.sweep import EvaluationRun, Results, cases_with_band, sweep
from ttsr_studio.evaluation.verifier_study.candidates import drawn_windows
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.rendering.inference.timing import Stages
from ttsr_studio.rendering.inference.windows import SearchInput, SearchRun, search_windows

JUDGES = ("critic", "consensus", "typical", "continuity")


def programmes(source: Path, out: Path, seconds: float, limit: int | None, kinds: tuple[str, ...] = ()) -> list[Clip]:
    """Programmes of all kinds in turn, so that a run that is stopped has some of each."""
    joined = join_clips(load_corpus(source, kinds), seconds, out / "programmes")
    parts = [[clip for clip in joined if clip.kind == kind] for kind in dict.fromkeys(clip.kind for clip in joined)]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*(part[:limit] for part in parts)))
    return [clip for clip in turns if clip is not None]


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
    "steering": {"search": "steering"},
    "steering, funnel": {"search": "steering", "settings": (("funnel", "0.25,1"),)},
    "gradient": {"search": "gradient"},
    "evolution": {"search": "evolution"},
    "tree": {"search": "tree"},
    "zero-order": {"search": "zero-order"},
    "paths": {"search": "paths"},
    "halving": {"search": "halving"},
    "screen": {"search": "screen"},
    "polish": {"search": "polish"},
}


@main.command()
@given
@click.option("--nfe", default=64, show_default=True, help="Evaluations of a window and channel.")
@click.option("--search", "names", multiple=True, type=click.Choice([*SEARCHES]), default=[*SEARCHES])
@click.option(
    "--choice",
    "choices",
    multiple=True,
    type=click.Choice(["clip", "window", "segment"]),
    default=["clip", "segment"],
    show_default=True,
)
def renders(source: Path, out: Path, join: float, seconds: float | None, limit: int | None, **told: object) -> None:
    """Render programmes by every search, guided by critic + consensus, and print how they compare."""
    asked = {(choice, "random"): {"search": "random"} for choice in ("clip", *told["choices"])}
    asked |= {(choice, name): SEARCHES[name] for choice in told["choices"] for name in told["names"]}
    run = EvaluationRun(Conditions((told["cutoff"],), "brick", seconds), Results(out / "renders.jsonl"))
    cases = cases_with_band(programmes(source, out, join, limit, told["kinds"]), run.conditions.cutoffs)
    session, rows = None, []
    for clip, cutoff_hz in cases:
        for (choice, name), how in asked.items():
            options = RenderOptions(
                candidates=None, budget=f"{told['nfe']}nfe", verifiers=VOTERS, hold_out=("continuity", "typical"),
                ensemble="zsum", scope="window", choice=choice, seed=told["seed"], **how,
            )  # fmt: skip
            session = session.with_options(options) if session else Session(options)
            study = RenderStudy(session, name)
            rows += sweep(study, [(clip, cutoff_hz)], run)
            click.echo(f"{clip.name} {choice} {name} {rows[-1]['lsd']:.3f}")
    click.echo("\n" + "\n".join(compared(rows, told["seed"])))
    for reason in run.reporter.failures:
        click.echo(reason, err=True)


@dataclass(frozen=True)
class RenderStudy:
    """A search's render of a programme: its distance to the truth, and mean scores of what was chosen."""

    session: Session
    name: str

    def find(self, clip: Clip, cutoff_hz: float, run: EvaluationRun) -> list[dict] | None:
        return run.results.find([self.key(clip, cutoff_hz, run)])

    def key(self, clip: Clip, cutoff_hz: float, run: EvaluationRun) -> str:
        return run.row_key(clip, cutoff_hz, renders=1, options=self.session.options.to_json())

    def measure(self, item: Item, run: EvaluationRun) -> Iterator[dict]:
        engine, audio = self.session.engine, item.lr_wide()
        level, parts, scores, stages = active_rms(audio, RATE), [], [], Stages()
        with Scratch(audio.shape[0]) as lr:
            lr.append(audio)
            source = SearchInput(lr, BandwidthMap.constant(item.kept_hz), level)
            for step in search_windows(self.session, source, SearchRun(stages, lambda event: None)):
                parts.append(step.finished[0])
                if step.candidates:
                    chosen = step.selections[0]
                    scores.append({name: chosen.mean(values) for name, values in step.candidates.scores.items()})
        made, bins = np.concatenate(parts, axis=1), bins_between(item.cutoff_hz, item.clip.edge_hz, engine.sample_rate)
        powers = [power_spectrogram(torch.from_numpy(x))[:, bins] for x in (made, item.truth[:, : made.shape[1]])]
        yield {
            "key": self.key(item.clip, item.cutoff_hz, run), "clip": item.clip.name, "kind": item.clip.kind,
            "search": self.name, "choice": self.session.options.choice, "lsd": float(log_distance(*powers).mean()),
            "scores": {name: float(np.mean([each[name] for each in scores])) for name in scores[0]},
        }  # fmt: skip


def compared(rows: list[dict], seed: int) -> list[str]:
    """Every search and choice against random search by clip, paired by programme."""
    cells: dict[tuple[str, str], dict[str, dict]] = {}
    for row in rows:
        cells.setdefault((row["search"], row["choice"]), {})[row["clip"]] = row
    base, lines = cells["random", "clip"], []
    for (search, choice), mine in cells.items():
        clips = [clip for clip in base if clip in mine]
        less = np.array([base[clip]["lsd"] - mine[clip]["lsd"] for clip in clips])
        more = [
            interval(bootstrap(np.array([mine[c]["scores"][v] - base[c]["scores"][v] for c in clips]), seed), 3, "+")
            for v in (*VOTERS, "continuity")
        ]
        lines.append([search, choice, str(len(clips)), interval(bootstrap(less, seed), 3, "+"), *more])
    titles = ["search", "choice by", "programmes", "less LSD", *VOTERS, "continuity, held out"]
    return markdown_table(titles, lines, titles[:2])


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

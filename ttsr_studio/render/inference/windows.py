"""The search of a file: window after window rendered, judged, chosen and cross-faded, in groups that fit in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from ttsr_studio.audio.crossover import Crossover
from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.audio.windows import CrossFader, Window, even_core, plan_windows
from ttsr_studio.diffusion.noise import NoiseKey
from ttsr_studio.render.inference.budget import BudgetTracker
from ttsr_studio.render.inference.candidates import CandidateBatch
from ttsr_studio.render.inference.progress import CancellationToken, Watch
from ttsr_studio.render.inference.sampling import window_key
from ttsr_studio.render.inference.segments import Take, assemble, choose_segments
from ttsr_studio.render.inference.session import Session
from ttsr_studio.render.inference.state import SamplingConfig, WindowCandidates
from ttsr_studio.render.inference.timing import Stages
from ttsr_studio.search.protocol import Budget, Candidate, Problem
from ttsr_studio.search.scheduler import Run, Task, drive
from ttsr_studio.verifiers.protocol import Annotations

FADE_SECONDS = 0.08
GROUP_BYTES = 200_000_000
"""About how much the candidates of the windows in flight may take."""

CLIP_BYTES = 2_000_000_000
"""The most that the candidates of a whole file may take, when it is chosen as one."""


@dataclass(frozen=True)
class Step:
    """A window that is done.

    Attributes:
        finished: the output samples that it finished, [channels, n], of every finalist, and of the control last.
        pool: its candidates; None for silence.
        takes: what every one of these is made of; empty for silence.
        heard: what judges said of the first finalist where it was put together from several candidates.
    """

    window: Window
    finished: list[np.ndarray]
    pool: WindowCandidates | None
    takes: list[Take] = field(default_factory=list)
    heard: dict[str, float] = field(default_factory=dict)


def clip_bytes(session: Session, frames: int, channels: int) -> int:
    """About what the candidates of a whole file take."""
    return 4 * channels * frames * (session.candidates + 16)


def search_windows(
    session: Session,
    lr: Scratch,
    truth: Scratch | None,
    cutoff_hz: float,
    level: float,
    annotations: Annotations,
    stages: Stages,
    progress: Watch,
    stop: CancellationToken | None = None,
) -> Iterator[Step]:
    """Search group after group of windows and hand out the output from its start to its end.

    Args:
        lr: the input at the engine's rate.
        truth: ground truth at that rate and of about that length, or None.
        cutoff_hz: where the input's band ends.
        level: RMS of the input's active parts; 0 passes everything through.
        brief: what is known of the file.
        stop: where the user says that it is enough.
    """
    engine, options = session.engine, session.options
    rate = engine.sample_rate
    config = SamplingConfig(
        engine, session.sampler, session.sigmas(), session.coarse_sigmas, session.temperature,
        Crossover(cutoff_hz, rate), session.panel, annotations, session.limit, session.guidance, session.look,
        options.decode_top or 0, options.segment if options.choice == "segment" else 0.0, session.witness,
    )  # fmt: skip
    fade = round(FADE_SECONDS * rate)
    core = even_core(lr.frames, round(engine.core_seconds * rate), fade)
    context, length = round(engine.context_seconds * rate), round((engine.window_seconds or 0) * rate)
    windows = plan_windows(lr.frames, core, context, fade, engine.hop, length)
    tracker = BudgetTracker(
        session, len(windows), lr.frames / rate, lr.channels, stages.network, progress, stop or CancellationToken()
    )
    scale = engine.input_rms / level if level else 0.0
    faders = [CrossFader() for _ in range(session.finalists + options.control)]
    picks = np.random.default_rng([options.seed, 6])
    before: np.ndarray | None = None
    groups = iter([windows]) if options.choice == "clip" else grouped(windows, lr.channels, session.candidates)
    for group in groups:
        tracker.begin(len(group))
        around = engine.lookaround
        audio = np.stack([lr.read(w.render_start - around, w.render_stop + around) for w in group]) * np.float32(scale)
        loud = [i for i in range(len(group)) if audio[i, :, around : audio.shape[-1] - around].any()]
        found: dict[int, tuple[WindowCandidates, int]] = {}
        pool: CandidateBatch | None = None
        if loud:
            heard = [group[i] for i in loud]
            truths = [
                None
                if truth is None
                else torch.from_numpy(truth.read(w.render_start, w.render_stop) * np.float32(scale))
                for w in heard
            ]
            keys = [window_key(options.seed, w, engine) for w in heard]
            pool = CandidateBatch(config, heard, torch.from_numpy(audio[loud]), keys, truths, stages)
            winners = run_searches(session, pool, tracker, [Problem(key, session.plan) for key in keys])
            for j, i in enumerate(loud):
                pool.decode(j, [winners[j].index])
                found[i] = pool.windows[j], winners[j].index
        tracker.end(len(group))
        for i, window in enumerate(group):
            low = lr.read(window.start, window.stop)
            if i not in found or pool is None:
                yield Step(window, [fader.add(window, low, low) for fader in faders], None)
                before = None
                continue
            mine, winner = found[i]
            takes = choose(session, mine, winner, cutoff_hz, fade, before)
            if options.control:
                takes.append(control(mine, takes[0], picks, options.choice == "clip"))
            cores = [assemble(mine, take, fade) for take in takes]
            spliced = takes[0].spliced
            said = pool.hear_assembled(loud.index(i), torch.from_numpy(cores[0])) if spliced else {}
            before = cores[0][:, cores[0].shape[1] - window.fade_out :] if window.fade_out else None
            joined = [
                fader.add(window, core / np.float32(scale), low) for fader, core in zip(faders, cores, strict=True)
            ]
            yield Step(window, joined, mine, takes, said)


def run_searches(
    session: Session, pool: CandidateBatch, tracker: BudgetTracker, problems: Sequence[Problem]
) -> list[Candidate]:
    """Search all windows of a pool and return their winners."""
    if not stages_timed(pool) and tracker.timed:
        pool.rehearse([problem.key for problem in problems])
    budget = Budget(tracker.nfe(len(problems)))
    pool.ticked = tracker.step
    pool.given_up = tracker.over
    rows = max(1, session.options.batch // pool.channels)
    if session.options.choice == "clip":
        tied = Tied(pool, [problem.key for problem in problems], rows)
        runs = [Run(session.start(problems[0], budget), budget, session.plan)]
        batch = max(1, rows // len(problems))
        pool.given_up = lambda: False
        drive(
            runs, tracker.watched(tied.solve), tied.score, batch=batch, halt=tracker.halt(tied.best), room=tracker.room
        )
        runs = runs * len(problems)
    else:
        runs = [Run(session.start(problem, budget), budget, session.plan) for problem in problems]
        halt = tracker.halt(lambda window: best_so_far(pool.windows[window]))
        drive(runs, tracker.watched(pool.solve), pool.score, batch=rows, halt=halt, room=tracker.room)
    for mine, run in zip(pool.windows, runs, strict=True):
        alone = tracker.timed and budget.nfe < 2 * session.plan.run <= session.window_nfe
        mine.cut = run.cut or ("time" if alone else None)
        mine.fill()
    return [run.winner for run in runs if run.winner is not None]


def stages_timed(pool: CandidateBatch) -> bool:
    """Whether the network's speed is known."""
    return pool.stages.network.nfe > 0


def best_so_far(pool: WindowCandidates) -> dict[str, float]:
    """Every verifier's score of the best finished candidate by all of them; empty when there is none."""
    heard = pool.ranking()[:1]
    return {name: values[heard[0]] for name, values in pool.scores.items()} if heard else {}


class Tied:
    """All windows of a clip as one problem: a candidate is the same draw in every window, its score their mean."""

    def __init__(self, pool: CandidateBatch, keys: Sequence[NoiseKey], rows: int) -> None:
        self.pool, self.keys, self.rows = pool, keys, rows

    def solve(self, tasks: Sequence[Task]) -> bool:
        every = [self._there(task, window) for task in tasks for window in range(len(self.keys))]
        for start in range(0, len(every), self.rows):
            self.pool.solve(every[start : start + self.rows])
        return True

    def _there(self, task: Task, window: int) -> Task:
        def moved(key: NoiseKey) -> NoiseKey:
            return replace(self.keys[window], lineage=key.lineage)

        origin = task.rollout.origin
        rollout = replace(
            task.rollout,
            key=moved(task.rollout.key),
            origin=None if origin is None else replace(origin, key=moved(origin.key)),
        )
        return replace(
            task, window=window, rollout=rollout, candidate=replace(task.candidate, key=moved(task.candidate.key))
        )

    def score(self, _window: int, candidates: Sequence[Candidate]) -> np.ndarray:
        return self.pool.windows[0].panel.combine(self._columns([c.index for c in candidates])).values

    def _columns(self, numbers: Sequence[int]) -> dict[str, np.ndarray]:
        parts = [pool.columns(numbers) for pool in self.pool.windows]
        columns = {}
        for name in dict.fromkeys(name for part in parts for name in part):
            said = [part[name] for part in parts if name in part and np.isfinite(part[name]).any()]
            # A window about which a verifier says nothing at all has no say; a candidate that it leaves out has lost.
            columns[name] = np.mean(said, axis=0) if said else np.full(len(numbers), np.nan)
        return columns

    def best(self, _window: int) -> dict[str, float]:
        heard = sorted(self.pool.windows[0].audio)
        if not heard:
            return {}
        columns = self._columns(heard)
        if not columns:
            return {}
        kept = int(self.pool.windows[0].panel.combine(columns).values.argmax())
        return {name: float(values[kept]) for name, values in columns.items()}


def choose(
    session: Session, pool: WindowCandidates, winner: int, cutoff_hz: float, fade: int, before: np.ndarray | None
) -> list[Take]:
    """What every finalist is made of in a window, the best first."""
    takes = [Take.whole(pool, number) for number in finalists(pool, winner, session.finalists)]
    # A window of one segment, or one that nobody judged by segment, is chosen as a window.
    if session.options.choice == "segment" and len(pool.audio) > 1 and pool.segments:
        rate = session.engine.sample_rate
        takes[0] = choose_segments(pool, cutoff_hz, rate, fade, session.options.seam, before)
    return takes


def control(pool: WindowCandidates, take: Take, picks: np.random.Generator, tied: bool) -> Take:
    """A random pick in the place of every choice."""
    heard = sorted(pool.audio)
    if tied:
        picks = np.random.default_rng(6)
    return Take(take.edges, tuple(heard[int(i)] for i in picks.integers(len(heard), size=len(take.numbers))))


def finalists(pool: WindowCandidates, winner: int, count: int) -> list[int]:
    """The candidates of a window that go into finalist 0, 1, ...: the winner, then by rank.

    Where no verifier judges windows the order is the candidates' own, so that a finalist is one draw throughout.
    """
    if not pool.panel.choosing("window"):
        return [min(number, max(pool.audio)) for number in range(count)]
    order = [winner, *(number for number in pool.ranking() if number != winner)]
    return [order[min(place, len(order) - 1)] for place in range(count)]


def grouped(windows: list[Window], channels: int, candidates: int) -> Iterator[list[Window]]:
    """Windows in groups whose candidates fit `GROUP_BYTES`."""
    size = 4 * channels * (windows[0].render_stop - windows[0].render_start) * (candidates + 16)
    count = max(1, GROUP_BYTES // size)
    for start in range(0, len(windows), count):
        yield windows[start : start + count]

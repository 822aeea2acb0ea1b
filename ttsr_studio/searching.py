"""The search of a file: window after window rendered, judged, chosen and cross-faded, in groups that fit in memory."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ttsr_studio.audio.crossover import Crossover
from ttsr_studio.audio.stream import Scratch
from ttsr_studio.audio.windows import CrossFader, Window, even_core, plan_windows
from ttsr_studio.candidates import Pool, Recipe, Stages, WindowPool, window_key
from ttsr_studio.progress import Event, Watch
from ttsr_studio.search.batching import SolveBatch, Task, drive
from ttsr_studio.search.contract import Problem
from ttsr_studio.session import Session
from ttsr_studio.verifiers import Brief

FADE_SECONDS = 0.08
GROUP_BYTES = 200_000_000
"""About how much the candidates of the windows in flight may take."""


@dataclass(frozen=True)
class Step:
    """A window that is done.

    Attributes:
        finished: the output samples that it finished, [channels, n], of every finalist.
        pool: its candidates; None for silence.
        chosen: number of the candidate in every finalist, best first.
    """

    window: Window
    finished: list[np.ndarray]
    pool: WindowPool | None
    chosen: list[int]


def search_windows(
    session: Session,
    lr: Scratch,
    truth: Scratch | None,
    cutoff_hz: float,
    level: float,
    brief: Brief,
    stages: Stages,
    progress: Watch,
) -> Iterator[Step]:
    """Search group after group of windows and hand out the output from its start to its end.

    Args:
        lr: the input at the engine's rate.
        truth: ground truth at that rate and of about that length, or None.
        cutoff_hz: where the input's band ends.
        level: RMS of the input's active parts; 0 passes everything through.
        brief: what is known of the file.
    """
    engine = session.engine
    rate = engine.sample_rate
    recipe = Recipe(
        engine, session.sampler, session.sigmas(), session.temperature, Crossover(cutoff_hz, rate), session.panel,
        brief, session.limit, session.guidance, session.look, session.options.decode_top or 0,
    )  # fmt: skip
    fade = round(FADE_SECONDS * rate)
    core = even_core(lr.frames, round(engine.core_seconds * rate), fade)
    context, length = round(engine.context_seconds * rate), round((engine.window_seconds or 0) * rate)
    windows = plan_windows(lr.frames, core, context, fade, engine.hop, length)
    clock = SearchClock(session, len(windows), lr.frames / rate, progress)
    scale = engine.input_rms / level if level else 0.0
    faders = [CrossFader() for _ in range(session.finalists)]
    for group in grouped(windows, lr.channels, session.candidates):
        clock.begin(len(group))
        around = engine.lookaround
        audio = np.stack([lr.read(w.render_start - around, w.render_stop + around) for w in group]) * np.float32(scale)
        loud = [i for i in range(len(group)) if audio[i, :, around : audio.shape[-1] - around].any()]
        found: dict[int, tuple[WindowPool, list[int]]] = {}
        if loud:
            heard = [group[i] for i in loud]
            truths = [
                None
                if truth is None
                else torch.from_numpy(truth.read(w.render_start, w.render_stop) * np.float32(scale))
                for w in heard
            ]
            keys = [window_key(session.options.seed, w, engine) for w in heard]
            pool = Pool(recipe, heard, torch.from_numpy(audio[loud]), keys, truths, stages)
            pool.ticked = clock.step
            searches = [session.start(Problem(key)) for key in keys]
            rows = max(1, session.options.batch // lr.channels)
            winners = drive(searches, clock.watched(pool.solve), pool.score, batch=rows, expired=clock.expired)
            for j, i in enumerate(loud):
                pool.decode(j, [winners[j].index])
                found[i] = pool.windows[j], finalists(pool.windows[j], winners[j].index, len(faders))
        clock.end(len(group))
        for i, window in enumerate(group):
            low = lr.read(window.start, window.stop)
            mine, chosen = found.get(i, (None, [-1] * len(faders)))
            cores = [low if mine is None else mine.audio[number].numpy() / np.float32(scale) for number in chosen]
            joined = [fader.add(window, core, low) for fader, core in zip(faders, cores, strict=True)]
            yield Step(window, joined, mine, chosen)


def finalists(pool: WindowPool, winner: int, count: int) -> list[int]:
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


class SearchClock:
    """The seconds budget of a file's search, shared evenly over its windows, and its progress."""

    def __init__(self, session: Session, windows: int, seconds: float, progress: Watch) -> None:
        self._began = time.perf_counter()
        self._budget = session.options.budget_seconds
        self._per_window = session.candidates
        self._windows, self._seconds, self._progress = windows, seconds, progress
        self._through, self._finished, self._rendered, self._batch = 0, 0, 0, 0

    def begin(self, windows: int) -> None:
        """A group of so many windows is searched from here."""
        self._through += windows

    def expired(self) -> bool:
        """Whether the share of the windows begun so far is spent."""
        spent = time.perf_counter() - self._began
        return self._budget is not None and spent > self._budget * self._through / self._windows

    def watched(self, solve: SolveBatch) -> SolveBatch:
        """The same, reporting progress."""

        def solving(tasks: Sequence[Task]) -> None:
            self._batch = len(tasks)
            solve(tasks)
            self._rendered += len(tasks)
            self._tell(self._rendered)

        return solving

    def step(self, share: float) -> None:
        """Such a share of the batch in hand is done."""
        self._tell(self._rendered + share * self._batch)

    def end(self, windows: int) -> None:
        """So many windows are done, however many candidates they took."""
        self._finished += windows
        self._rendered = self._finished * self._per_window
        self._tell(self._rendered)

    def _tell(self, done: float) -> None:
        total = self._windows * self._per_window
        self._progress(Event("searching", done, total, self._seconds * done / total))

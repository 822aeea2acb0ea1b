"""The search of a file: planned in groups of windows that fit in memory, searched, chosen, joined and cross-faded."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ttsr_studio.analysis.difference import band_distances, spread_out
from ttsr_studio.audio.bandwidth.map import BandwidthMap
from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.audio.windows import CrossFader, Window, even_core, plan_windows
from ttsr_studio.rendering.inference.budget import BudgetTracker, TimeShare
from ttsr_studio.rendering.inference.group import GroupRequest, GroupResult, search_group
from ttsr_studio.rendering.inference.progress import CancellationToken, Watch
from ttsr_studio.rendering.inference.scoring import ScoringSetup, score_assembled
from ttsr_studio.rendering.inference.segments import Seams, Selection, assemble, choose_segments
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.rendering.inference.state import Scores, WindowCandidates
from ttsr_studio.rendering.inference.timing import Stages
from ttsr_studio.verifiers.protocol import Annotations

FADE_SECONDS = 0.08
GROUP_BYTES = 200_000_000
"""About how much the candidates of the windows in flight may take."""

GROUPS_ON_A_GPU = 5
"""Times as many windows are in flight there: a large batch needs them."""

CLIP_BYTES = 2_000_000_000
"""The most that the candidates of a whole file may take, when it is chosen as one."""


@dataclass(frozen=True)
class SearchInput:
    """What a search is given.

    Attributes:
        lr: the input at the engine's rate.
        bandwidth: where the input's band ends, by time and channel.
        level: RMS of the input's active parts; 0 passes everything through.
        truth: ground truth at that rate and of about that length, or None.
        annotations: what is known of the file.
    """

    lr: Scratch
    bandwidth: BandwidthMap
    level: float
    truth: Scratch | None = None
    annotations: Annotations = field(default_factory=Annotations)

    @property
    def cutoff_hz(self) -> float:
        """The lowest edge that there is."""
        return self.bandwidth.lowest()


@dataclass(frozen=True)
class JoinedWindow:
    """A window that is done.

    Attributes:
        finished: the output samples that it finished, [channels, n], of each of the n best, and of the random baseline
            last.
        candidates: None where there is nothing to add: silence, or a band that is open throughout.
        selections: what every one of these is made of; empty where there is nothing to add.
        silent: whether there is nothing to add for want of sound.
        scores: of the best render where it was put together from several candidates, by column.
    """

    window: Window
    finished: list[NDArray[np.float32]]
    candidates: WindowCandidates | None = None
    selections: list[Selection] = field(default_factory=list)
    scores: Scores = field(default_factory=dict)
    silent: bool = False


@dataclass(frozen=True)
class SearchPlan:
    """How a file is cut.

    Attributes:
        groups: of windows that are searched together.
        fade: samples of every cross-fade.
        scale: from the file's level to the engine's; 0 for silence.
    """

    groups: list[list[Window]]
    fade: int
    scale: np.float32

    @property
    def windows(self) -> int:
        return sum(map(len, self.groups))


def plan_search(session: Session, source: SearchInput) -> SearchPlan:
    """Cut a file into windows, and windows into groups."""
    engine, frames = session.engine, source.lr.frames
    rate = engine.sample_rate
    fade = round(FADE_SECONDS * rate)
    core = even_core(frames, round(engine.core_seconds * rate), fade)
    context, length = round(engine.context_seconds * rate), round((engine.window_seconds or 0) * rate)
    windows = plan_windows(frames, core, context, fade, engine.hop, length)
    together = session.options.choice == "clip"
    room = GROUP_BYTES * (1 if engine.device.type == "cpu" else GROUPS_ON_A_GPU)
    groups = [windows] if together else list(in_groups(windows, source.lr.channels, session.candidates, room))
    return SearchPlan(groups, fade, np.float32(engine.input_rms / source.level if source.level else 0.0))


@dataclass(frozen=True)
class FileSearch:
    """The search of one file, as whatever searches its groups is given it.

    Attributes:
        name: of the file, for messages.
        tracker: is told when groups begin and end, and how far those in hand are.
        stages: take what all groups took.
        stop: where the user says that it is enough.
    """

    name: Path
    session: Session
    source: SearchInput
    plan: SearchPlan
    tracker: BudgetTracker
    stages: Stages
    stop: CancellationToken | None

    def request(self, group: Sequence[Window], share: TimeShare) -> GroupRequest | None:
        """What a group's search needs; None where there is nothing to add in all of it."""
        return request_group(self.session, self.source, self.plan, group, share)


GroupSearcher = Callable[[FileSearch], Iterator[GroupResult | None]]
"""Gives the results of all groups of a file in order; None for those with nothing to add."""


def search_here(search: FileSearch) -> Iterator[GroupResult | None]:
    """Search group after group in this process."""
    for group in search.plan.groups:
        request = search.request(group, search.tracker.begin(len(group)))
        result = None
        if request:
            result = search_group(request, search.session, search.stop, search.tracker.reached)
            search.stages.merge(result.stages)
        search.tracker.end(len(group))
        yield result


@dataclass(frozen=True)
class SearchRun:
    """What a search tells and is told while it runs.

    Attributes:
        stages: take the time that it took.
        stop: where the user says that it is enough.
        searcher: searches the groups of windows, here or elsewhere.
        name: of the file, for messages.
    """

    stages: Stages
    progress: Watch
    stop: CancellationToken | None = None
    searcher: GroupSearcher = search_here
    name: Path = Path("the file")


def search_windows(session: Session, source: SearchInput, run: SearchRun) -> Iterator[JoinedWindow]:
    """Search groups of windows and hand out the output from its start to its end."""
    plan, options = plan_search(session, source), session.options
    tracker = BudgetTracker(
        plan.windows, source.lr.frames / session.engine.sample_rate, session.window_nfe, options.budget_seconds,
        run.stages, run.progress,
    )  # fmt: skip
    joiner = Joiner(session, source, plan)
    search = FileSearch(run.name, session, source, plan, tracker, run.stages, run.stop)
    for group, result in zip(plan.groups, run.searcher(search), strict=True):
        found: dict[int, tuple[WindowCandidates, int]] = {}
        if result:
            found = {each.window.index: (each, n) for each, n in zip(result.windows, result.winners, strict=True)}
        for window in group:
            with run.stages.timed("assemble"):
                joined = joiner.join(window, *found.pop(window.index, (None, 0)))
            yield joined


def request_group(
    session: Session, source: SearchInput, plan: SearchPlan, group: Sequence[Window], share: TimeShare
) -> GroupRequest | None:
    """What a group's search needs; None where there is nothing to add in all of it."""
    around = session.engine.lookaround
    spans = [(w.render_start - around, w.render_stop + around) for w in group]
    audio = np.stack([source.lr.read_going_on(*span) for span in spans]) * plan.scale
    loud = [
        i
        for i, window in enumerate(group)
        if audio[i, :, around : audio.shape[-1] - around].any() and not is_open(session, source, window)
    ]
    if not loud:
        return None
    windows, truth = tuple(group[i] for i in loud), source.truth
    references = (
        None if truth is None else np.stack([truth.read(w.render_start, w.render_stop) * plan.scale for w in windows])
    )
    scale = source.level / session.engine.input_rms
    setup = ScoringSetup(session.engine.sample_rate, source.bandwidth, source.annotations, scale)
    return GroupRequest(session.options, setup, windows, audio[loud], references, share)


def is_open(session: Session, source: SearchInput, window: Window) -> bool:
    """Whether a window's band reaches to the top in all channels throughout."""
    rate = session.engine.sample_rate
    return source.bandwidth.lowest(window.start / rate, window.stop / rate) >= rate / 2


class Joiner:
    """Chooses from the candidates of window after window and joins what it chose to what came before."""

    def __init__(self, session: Session, source: SearchInput, plan: SearchPlan) -> None:
        options, rate = session.options, session.engine.sample_rate
        self.session, self.source, self.plan = session, source, plan
        self.setup = ScoringSetup(rate, source.bandwidth, source.annotations)
        self.seams = Seams(source.cutoff_hz, rate, plan.fade, options.seam)
        self.faders = [CrossFader() for _ in range(session.n_best + options.control)]
        self.picks = np.random.default_rng([options.seed, 6])
        self.before: NDArray[np.float32] | None = None

    def join(self, window: Window, found: WindowCandidates | None, winner: int) -> JoinedWindow:
        """The next window; without candidates it is passed through."""
        low = self.source.lr.read(window.start, window.stop)
        if found is None:
            self.before = None
            passed = [fader.add(window, low, low) for fader in self.faders]
            return JoinedWindow(window, passed, silent=not is_open(self.session, self.source, window))
        selections = self._choose(found, winner)
        if self.session.options.control:
            selections.append(self._random(found, selections[0]))
        cores = [assemble(found, selection, self.plan.fade) for selection in selections]
        scores: Scores = {}
        if selections[0].spliced:
            scores = score_assembled(self.session.panel, self.setup, found, torch.from_numpy(cores[0]))
        self.before = cores[0][:, cores[0].shape[1] - window.fade_out :] if window.fade_out else None
        joined = [
            fader.add(window, core / self.plan.scale, low) for fader, core in zip(self.faders, cores, strict=True)
        ]
        return JoinedWindow(window, joined, found, selections, scores)

    def _choose(self, found: WindowCandidates, winner: int) -> list[Selection]:
        """What each of the n best is made of in a window, the best first."""
        panel = self.session.panel
        selections = [Selection.whole(found, number) for number in self._n_best(found, winner)]
        cores = found.audio
        by_segment = any(found.candidates[number].segments for number in cores)
        # A window of one segment, or one that nobody scored by segment, is chosen as a window.
        if self.session.options.choice == "segment" and len(cores) > 1 and by_segment:
            selections[0] = choose_segments(found, panel, self.seams, self.before)
        return selections

    def _n_best(self, found: WindowCandidates, winner: int) -> list[int]:
        """The candidates of a window that go into render 0, 1, ...: the winner, then by rank.

        Where no verifier scores windows the order is the candidates' own, so that each render is one draw throughout.
        """
        panel, count = self.session.panel, self.session.n_best
        if not panel.choosing("window"):
            return [min(number, max(found.audio)) for number in range(count)]
        if self.session.options.diverse:
            return self._spread_out(found, winner)
        order = [winner, *(number for number in found.ranking(panel) if number != winner)]
        return [order[min(place, len(order) - 1)] for place in range(count)]

    def _spread_out(self, found: WindowCandidates, winner: int) -> list[int]:
        """The winner, and others that are good and differ from it and from each other."""
        decoded, count = list(found.audio), self.session.n_best
        quality = found.combined(self.session.panel, decoded).values
        rate = self.session.engine.sample_rate
        distance = band_distances(torch.stack(list(found.audio.values())), self.setup.cutoff_hz(found.window), rate)
        order = [decoded[place] for place in spread_out(quality, distance, decoded.index(winner), count)]
        return [order[min(place, len(order) - 1)] for place in range(count)]

    def _random(self, found: WindowCandidates, selection: Selection) -> Selection:
        """A random pick in the place of every choice; the same in all windows where the clip is chosen as one."""
        decoded = list(found.audio)
        picks = np.random.default_rng(6) if self.session.options.choice == "clip" else self.picks
        numbers = picks.integers(len(decoded), size=len(selection.numbers))
        return Selection(selection.edges, tuple(decoded[int(i)] for i in numbers))


def in_groups(windows: list[Window], channels: int, candidates: int, room: int) -> Iterator[list[Window]]:
    """Windows in groups whose candidates fit into `room` bytes."""
    size = 4 * channels * (windows[0].render_stop - windows[0].render_start) * (candidates + 16)
    count = max(1, room // size)
    for start in range(0, len(windows), count):
        yield windows[start : start + count]


def clip_bytes(session: Session, frames: int, channels: int) -> int:
    """About what the candidates of a whole file take."""
    return 4 * channels * frames * (session.candidates + 16)

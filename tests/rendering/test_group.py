"""The search of a group of windows is plain data in and out, and sessions share what is loaded."""

import math
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import below, save, voice

from ttsr_studio.audio.bandwidth.map import BandwidthMap
from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.errors import OptionError
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference import windows
from ttsr_studio.rendering.inference.budget import BudgetTracker, TimeShare
from ttsr_studio.rendering.inference.group import GroupRequest, GroupResult, search_group
from ttsr_studio.rendering.inference.session import Session, Sessions
from ttsr_studio.rendering.inference.timing import Stages
from ttsr_studio.rendering.pipeline import render
from ttsr_studio.rendering.request import RenderRequest

OPTIONS = RenderOptions(
    candidates=3,
    steps=3,
    verifiers=("critic", "consensus"),
    hold_out=("continuity",),
    choice="segment",
    segment=0.3,
    control=True,
    keep_top=2,
)


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(OPTIONS)


def test_a_group_that_went_elsewhere_and_back_makes_the_same_render(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = save(tmp_path / "stem.wav", below(voice(7.0, channels=2), 6000))
    travelled: list[tuple[GroupRequest, bytes, GroupResult]] = []

    def elsewhere(request: GroupRequest, *arguments: Any) -> GroupResult:
        there = pickle.loads(pickle.dumps(request))
        packed = pickle.dumps(search_group(there, *arguments))
        travelled.append((request, packed, pickle.loads(packed)))
        return travelled[-1][2]

    here = render(session, RenderRequest(source, tmp_path / "here.wav"))
    monkeypatch.setattr(windows, "search_group", elsewhere)
    there = render(session, RenderRequest(source, tmp_path / "there.wav"))
    assert [each.sha256 for each in there.report.written()] == [each.sha256 for each in here.report.written()]
    assert there.report.windows == here.report.windows
    assert there.report.scores == here.report.scores
    for request, packed, result in travelled:
        assert request.options == OPTIONS
        cores = sum(audio.nbytes for each in result.windows for audio in each.audio.values())
        assert len(packed) < 2.5 * cores, "what a search needs on its way stays where it was"


def test_a_group_is_searched_the_same_beside_others_and_alone(session: Session) -> None:
    """A farm may cut a file into groups as it likes."""
    audio = np.tile(below(voice(5.5), 6000).T.astype(np.float32), 2)
    with Scratch(1) as lr:
        lr.append(audio)
        source = windows.SearchInput(lr, BandwidthMap.constant(6000.0), 0.1)
        plan = windows.plan_search(session, source)
        (group,) = plan.groups
        request = windows.request_group(session, source, plan, group, TimeShare())
    assert request is not None
    together = search_group(request, session)
    assert len(together.windows) > 1
    for number, window in enumerate(request.windows):
        alone = search_group(replace(request, windows=(window,), lr=request.lr[number : number + 1]), session)
        assert alone.winners[0] == together.winners[number]
        for mine, theirs in zip(alone.windows[0].candidates, together.windows[number].candidates, strict=True):
            assert mine.key == theirs.key
            assert mine.audio is not None
            assert theirs.audio is not None
            apart = float((mine.audio - theirs.audio).square().mean() / theirs.audio.square().mean())
            assert apart < 1e-5, "a batch of another size rounds otherwise, and no more"


def test_another_session_shares_what_is_loaded_where_the_options_allow_it(session: Session) -> None:
    other = session.with_options(replace(OPTIONS, seed=5, cutoff=5000.0))
    assert (other.engine, other.panel, other.limit) == (session.engine, session.panel, session.limit)
    assert other.options.seed == 5
    assert session.options.seed == OPTIONS.seed
    alone = session.with_options(replace(OPTIONS, verifiers=("consensus",)))
    assert alone.engine is session.engine
    assert [verifier.name for verifier in alone.panel.search] == ["consensus"]
    sampled = session.with_options(replace(OPTIONS, batch=3))
    assert sampled.limit is not session.limit
    kept = Sessions(session)
    assert kept.of(OPTIONS) is session
    assert kept.of(replace(OPTIONS, seed=7)).engine is session.engine


def test_options_that_do_not_fit_are_refused_once_and_properties_only_tell(session: Session) -> None:
    with pytest.raises(OptionError, match="only 3 candidates are made"):
        session.with_options(replace(OPTIONS, keep_top=4))
    assert session.n_best == 2
    session.options, before = replace(OPTIONS, keep_top=9), session.options
    try:
        assert session.n_best == 9
        with pytest.raises(OptionError, match="--keep-top 9: only 3"):
            session.validate()
    finally:
        session.options = before


def test_a_budget_in_seconds_is_shared_by_the_workers_of_a_farm() -> None:
    """Four groups of two windows on two workers are two rounds, so that each group may take half of the time."""
    tracker = BudgetTracker(8, 40.0, 10, 100.0, Stages(), lambda event: None)
    tracker.start()
    shares = [tracker.begin_beside(2, workers=2, busy=0.0).seconds for _ in range(4)]
    assert shares == pytest.approx([50.0, 50.0, 100.0, 100.0], abs=1.0)  # the last two begin when half is over
    tracker.stages.network.nfe = 20
    assert tracker.begin_beside(2, workers=2, busy=40.0).per_evaluation == 2.0
    assert BudgetTracker(8, 40.0, 10, None, Stages(), lambda event: None).begin_beside(2, 2, 0.0).seconds == math.inf

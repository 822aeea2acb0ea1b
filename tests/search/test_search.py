"""Searches through the batcher and the real pool, on a problem whose best noise is known (`sampling_world.World`)."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from inspect import signature
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from sampling_world import SIGMAS, SIZE, Evaluation, World

from ttsr_studio.diffusion import noise
from ttsr_studio.diffusion.noise import NoiseKey, ascended, draw, shells, stride_to_cosine
from ttsr_studio.errors import OptionError
from ttsr_studio.search.algorithms.fk_steering import effective, standardised, systematic, uniform
from ttsr_studio.search.protocol import Budget, Problem, Rollout, SamplingPlan, Search, choose, resume, solve
from ttsr_studio.search.registry import BUILT_IN, SEARCHES, read_setting, search_misfit, search_settings, start_search
from ttsr_studio.search.scheduler import Run, SearchFaultError, Task

RUN = {"euler": 4, "heun": 7}
"""Evaluations of a run of four steps: one a step, or two but for the last."""

LEAST = {
    "random": {"euler": 4, "heun": 7},
    "poisson": {"euler": 4, "heun": 7},
    "zero-order": {"euler": 4, "heun": 7},
    "paths": {"euler": 3 + 2 * 4, "heun": 3 * 2 + 2 * 7},  # three steps, then two children from the very top
    "halving": {"euler": 2 + 1 + 1, "heun": 2 * 2 + 2 + 1},
    "screen": {"euler": 2 + 3, "heun": 3 + 6},  # both runs begin with the same evaluation
    "polish": {"euler": 4, "heun": 7},
    "steering": {"euler": 4, "heun": 4},  # its steps take one evaluation, whatever the solver's do
    "census": {"euler": 4, "heun": 7},
    "evolution": {"euler": 1 + (1 + 1) + (1 + 1) + 1, "heun": 1 + (3 + 1) + (2 + 1) + 2},
    "tree": {"euler": 4, "heun": 4},  # as in steering
    "gradient": {"euler": 4 * 2 - 1 + 3, "heun": 4 * 3 - 1 + 6},  # a coarse run, there and back, and the rest of a run
}

SPENT = {
    "random": {"euler": 10 * 4, "heun": 5 * 7},
    "poisson": {"euler": 10 * 4, "heun": 5 * 7},  # at most
    "zero-order": {"euler": (1 + 9) * 4, "heun": (1 + 4) * 7},
    "paths": {"euler": 3 * 3 + (3 * 2 + 1) * 4, "heun": 2 * 6 + (2 * 2) * 7},
    "halving": {"euler": 20 * 1 + 10 * 1 + 5 * 2, "heun": 11 * 2 + 5 * 2 + 2 * 3},
    "screen": {"euler": 15 * 2 + 3 * 3, "heun": 9 * 3 + 2 * 6},
    "polish": {"euler": (8 + 2) * 4, "heun": (4 + 1) * 7},
    "steering": {"euler": 10 * (1 + 3), "heun": 10 * (1 + 3)},
    "census": {"euler": 10 * (1 + 1 + 1 + 1), "heun": 5 * (2 + 2 + 2 + 1)},
    "evolution": {"euler": 20 + 4 * 2 + 4 * 2 + 4 * 1, "heun": 20 + 2 * 4 + 2 * 3 + 2 * 2},
    "tree": {"euler": 40, "heun": 40},
    "gradient": {"euler": 2 * (2 * 7 + 3), "heun": 2 * (1 * 11 + 6)},
}
"""What a budget of 40 evaluations buys, by hand."""

DESCENT: dict[str, Any] = {"level": 0.6, "rise": 0.25, "fall": 0.4}
"""Settings of `paths` that take it from step 1 in three rounds: back to 0 and down to 2, to 1 and 3, to 1 and 4."""

ALL_SEARCHES = pytest.mark.parametrize("name", SEARCHES)
SPENDING_ALL = pytest.mark.parametrize("name", [name for name in SEARCHES if name != "poisson"])
ALL_COURSES = pytest.mark.parametrize("solver", RUN)


def test_the_numbers_by_hand_are_of_all_searches() -> None:
    assert set(LEAST) == set(SPENT) == set(SEARCHES)


# Better for more.


@SPENDING_ALL
def test_more_budget_finds_better_candidates(name: str) -> None:
    """The mean squared distance to the goal shrinks from one run to 8, and again to 40."""
    least = LEAST[name]["euler"]
    one, some, many = (
        -float(np.mean(world.values(world.search(name, budget))))
        for budget, world in ((budget, World(24)) for budget in (least, 8 * 4, 40 * 4))
    )
    assert some < 0.85 * one
    assert many < 0.7 * some


@ALL_SEARCHES
def test_the_winner_is_the_best_that_came_to_its_end(name: str) -> None:
    world = World(4)
    runs = world.search(name, 50)
    for mine, run in zip(world.batch.windows, runs, strict=True):
        finished = {number: mine.scores["near"][number] for number in mine.audio}
        assert world.winner(run).index == max(finished, key=lambda number: finished[number])
        assert world.winner(run).step == world.plan.steps


def test_best_of_poisson_draws_a_number_of_its_own_in_every_window() -> None:
    spent = [run.nfe // 4 for run in World(200).search("poisson", 16 * 4)]
    assert 1 <= min(spent) < 6
    assert 11 < max(spent) <= 16
    assert np.mean(spent) == pytest.approx(8, abs=0.6), "half of the budget, on average"
    assert np.var(spent) == pytest.approx(7, rel=0.4), "as a Poisson number varies"
    assert spent == [run.nfe // 4 for run in World(200).search("poisson", 16 * 4)]
    whole = [run.nfe // 4 for run in World(50).search("poisson", 16 * 4, mean=1.0)]
    assert np.mean(whole) > 13
    with pytest.raises(OptionError, match=r"a mean of 1.5 of the budget; above 0, at most 1"):
        World(1).search("poisson", 16, mean=1.5)


def test_elitist_pivot_never_gets_worse_and_the_papers_may() -> None:
    every = []
    for budget in (1, 5, 9, 21):
        world = World(8)
        every.append(world.values(world.search("zero-order", 4 * budget, cosine=0.9)))
    assert all(a <= b for before, after in pairwise(every) for a, b in zip(before, after, strict=True))
    world = World(8)
    literal = world.values(world.search("zero-order", 12 * 4, pivot="paper", cosine=0.5))
    best = [max(mine.scores["near"]) for mine in world.batch.windows]
    assert any(a < b for a, b in zip(literal, best, strict=True))


def test_papers_rule_starts_around_an_unheard_pivot_and_moves_every_round() -> None:
    world = World(1)
    world.search("zero-order", 6 * 4, pivot="paper", neighbours=2)
    mine = world.batch.windows[0]
    keys, said = mine.keys, mine.scores["near"]
    assert [len(key.lineage) for key in keys] == [2, 2, 3, 3, 4, 4]
    for first in (0, 2):
        best = max((first, first + 1), key=lambda number: said[number])
        assert keys[first + 2].lineage[:-1] == keys[first + 3].lineage[:-1] == keys[best].lineage


def test_polish_draws_first_and_spends_its_share_around_the_best() -> None:
    world = World(1)
    world.search("polish", 20 * 4, share=0.25)
    mine = world.batch.windows[0]
    keys, said = mine.keys, mine.scores["near"]
    assert [len(key.lineage) for key in keys[:15]] == [1] * 15
    assert [key.lineage[:-1] for key in keys[15:17]] == [keys[int(np.argmax(said[:15]))].lineage] * 2
    assert len(keys) == 20


def test_census_looks_at_every_step_of_what_random_search_draws() -> None:
    """At no evaluation more, and every preview says how halving would score there."""
    seen, drawn = World(2), World(2)
    previewed, plain = seen.search("census", 40), drawn.search("random", 40)
    assert seen.values(previewed) == pytest.approx(drawn.values(plain), rel=1e-12)
    assert [run.nfe for run in previewed] == [run.nfe for run in plain]
    halving = World(2)
    halving.search("halving", 40, rungs=(0.25,))
    for mine, theirs, pruned in zip(seen.batch.windows, drawn.batch.windows, halving.batch.windows, strict=True):
        assert mine.keys == theirs.keys
        assert [[seen.step for seen in mine.candidates[number].previews] for number in range(10)] == [[1, 2, 3]] * 10
        first = [mine.candidates[number].previews[0].scores["near"] for number in range(10)]
        assert first == pytest.approx(
            [pruned.candidates[number].previews[0].scores["near"] for number in range(10)], rel=1e-12
        )


def test_census_can_look_less_often() -> None:
    world = World(1)
    world.search("census", 8, every=3)
    assert [
        [seen.step for seen in previews] for previews in (each.previews for each in world.batch.windows[0].candidates)
    ] == [[3], [3]]
    assert len(world.batch.windows[0].audio) == 2


# What it costs.


def test_a_level_goes_to_the_nearest_step_by_its_logarithm() -> None:
    """Between 8 and 2 the middle is 4; half of the lowest level and what is below it is the end."""
    plan = SamplingPlan(SIGMAS)
    levels = (1000.0, 8.0, 4.1, 3.9, 1.1, 0.9, 0.13, 0.07, 0.0625, 0.01, 0.0)
    assert [plan.step_at(level) for level in levels] == [0, 0, 0, 1, 1, 2, 3, 3, 4, 4, 4]


@pytest.mark.parametrize("guidance", [1.0, 1.5])
@ALL_COURSES
@SPENDING_ALL
def test_a_search_spends_what_it_says_and_what_was_worked_out_by_hand(name: str, solver: str, guidance: float) -> None:
    """By window and channel, on the network's own count; guidance doubles it, and what is left over is not spent."""
    world, each = World(3, channels=2, solver=solver, guidance=guidance), 2 if guidance != 1.0 else 1
    runs = world.search(name, each * 41 - 1)
    by_hand = each * SPENT[name][solver]
    assert [run.nfe for run in runs] == [by_hand] * 3
    assert world.spent() == {(window, channel): by_hand for window in range(3) for channel in range(2)}
    assert world.stages.network.nfe == 6 * by_hand


@pytest.mark.parametrize(
    ("name", "settings", "by_hand"),
    [
        ("screen", {"coarse": 1}, 23 * 1 + 5 * (4 - 1)),  # the preview is the first step of the run
        ("screen", {"coarse": 3, "finish": 1.0}, 6 * (3 + 3)),
        ("halving", {"rungs": (0.25,), "keep": 0.1}, 36 * 1 + 3 * 3 - 5),
        ("halving", {"rungs": (0.25, 0.5, 0.75), "keep": 0.5}, 22 + 11 + 5 + 2),
        ("paths", DESCENT, 2 * (1 + 2 * (2 + 1) + 2 * (2 + 1) + 2 * 3)),
        ("paths", DESCENT | {"branches": 1}, 4 * (1 + 3 + 3 + 3)),
        ("paths", DESCENT | {"branches": 3}, 1 * (1 + 9 + 9 + 9) + 4 * 3),
        ("zero-order", {"neighbours": 7}, 10 * 4),
        ("zero-order", {"pivot": "paper", "neighbours": 4}, 10 * 4),
        ("polish", {"share": 0.0}, 10 * 4),
        ("census", {"every": 3}, 10 * (3 + 1)),
        ("steering", {"resample": 0.0}, 10 * 4),
        ("steering", {"funnel": (0.25,)}, 18 + 11 + 7 + 4),
        ("steering", {"funnel": (0.01, 1.0)}, 31 + 7 + 1 + 1),
        ("evolution", {"generations": 1, "share": 0.25}, 10 + 6 * 2 + 6 * 2 + 6 * 1),
        ("evolution", {"generations": 4, "elites": 1}, 17 + 4 * 2 + 5 * 2 + 4 * 1),
        ("tree", {"ways": 3, "widening": 0.5}, 40),
        ("gradient", {"through": 1, "chains": 1}, 12 * 3 + 3),
        ("gradient", {"through": 9, "chains": 1}, 2 * (4 * 4 - 1)),  # all four steps: what is scored is finished
        ("gradient", {"through": 1, "chains": 40}, 6 * (3 + 3)),
    ],
)
def test_settings_change_what_a_budget_of_40_buys(name: str, settings: dict[str, Any], by_hand: int) -> None:
    world = World(2)
    assert [run.nfe for run in world.search(name, 40, **settings)] == [by_hand] * 2
    assert set(world.spent().values()) == {by_hand}


@ALL_COURSES
@ALL_SEARCHES
def test_no_search_spends_more_than_its_budget(name: str, solver: str) -> None:
    """And from the least that it needs on, every budget ends in a winner."""
    least, run = LEAST[name][solver], RUN[solver]
    for budget in (*range(least, least + run), 3 * run, 5 * run + 3, 61):
        world = World(2, solver=solver)
        runs = world.search(name, budget)
        assert all(0 < count <= budget for count in world.spent().values())
        assert all(world.winner(one).index in mine.audio for one, mine in zip(runs, world.batch.windows, strict=True))
        assert [one.cut for one in runs] == [None, None]


@ALL_COURSES
@ALL_SEARCHES
def test_a_budget_too_small_is_refused_with_what_is_needed(name: str, solver: str) -> None:
    world, needed = World(1, solver=solver), LEAST[name][solver]
    with pytest.raises(OptionError, match=rf"at least {needed} evaluations .*not {needed - 1}; .*--budget {needed}nfe"):
        world.start(name, needed - 1)
    world.search(name, needed)


def test_no_budget_at_all_is_refused() -> None:
    with pytest.raises(OptionError, match="at least 1 evaluation"):
        Budget(0)


def repeated(seen: Sequence[Evaluation]) -> list[Evaluation]:
    """Evaluations that were made before: the same x of the same row at the same level, whoever asked."""
    known = set[tuple[object, ...]]()
    again = []
    for one in seen:
        what = (one.window, one.channel, one.sigma, one.free, one.x)
        again += [one] if what in known else []
        known.add(what)
    return again


@ALL_COURSES
@ALL_SEARCHES
def test_no_evaluation_is_made_twice(name: str, solver: str) -> None:
    """But for what the way back of a gradient makes again, which a run of one step does not need."""
    world = World(3, channels=2, solver=solver)
    world.search(name, 60, **({"through": 1} if name == "gradient" else {}))
    assert not repeated(world.seen)


@pytest.mark.parametrize("settings", [{}, {"rungs": (0.25, 0.5, 0.75)}, {"rungs": (0.75,), "keep": 0.3}])
def test_halving_resumes_survivors_where_they_stood(settings: dict[str, Any]) -> None:
    """Nobody is evaluated twice at one level: losers have seen the first levels once, survivors all of them once."""
    world = World(2)
    world.search("halving", 60, **settings)
    for window, mine in enumerate(world.batch.windows):
        for number, reached in enumerate(each.step for each in mine.candidates):
            levels = [one.sigma for one in world.seen if (one.window, one.candidate) == (window, number)]
            assert tuple(levels) == SIGMAS[:reached]
        assert {number for number, each in enumerate(mine.candidates) if each.step == 4} == set(mine.audio)
        assert len({each.step for each in mine.candidates}) == len(settings.get("rungs", (0.25, 0.5))) + 1


def test_halving_with_two_evaluations_a_step_repeats_none() -> None:
    world = World(2, solver="heun")
    world.search("halving", 80)
    twice = [SIGMAS[0], *(sigma for sigma in SIGMAS[1:-1] for _ in ("arriving", "leaving"))]
    for window, mine in enumerate(world.batch.windows):
        for number, reached in enumerate(each.step for each in mine.candidates):
            levels = [one.sigma for one in world.seen if (one.window, one.candidate) == (window, number)]
            assert levels == twice[: 2 * reached]


def test_screen_with_one_coarse_step_goes_on_from_its_preview() -> None:
    world = World(2)
    world.search("screen", 60, coarse=1)
    assert not repeated(world.seen)
    for window, mine in enumerate(world.batch.windows):
        for number, reached in enumerate(each.step for each in mine.candidates):
            levels = [one.sigma for one in world.seen if (one.window, one.candidate) == (window, number)]
            assert tuple(levels) == SIGMAS[: max(1, reached)]


@pytest.mark.parametrize(("name", "settings"), [("halving", {}), ("screen", {}), ("screen", {"coarse": 1})])
def test_those_that_go_on_looked_better_than_those_that_do_not(name: str, settings: dict[str, Any]) -> None:
    world = World(4)
    world.search(name, 80, **settings)
    for mine in world.batch.windows:
        for place in range(2 if name == "halving" else 1):
            standing = [n for n, each in enumerate(mine.candidates) if len(each.previews) > place]
            said = {number: mine.candidates[number].previews[place].scores["near"] for number in standing}
            stop = mine.candidates[standing[0]].previews[place].step
            on = [said[number] for number in standing if mine.candidates[number].step > stop]
            out = [said[number] for number in standing if mine.candidates[number].step == stop]
            assert on
            assert min(on) > max(out)


# Where candidates lie.


def distance_of(key: NoiseKey) -> tuple[float, float, float]:
    """Of a neighbour from its pivot, in float64: norm over norm, cosine, and chord over norm."""
    parent = NoiseKey(key.seed, key.position, key.group, key.lineage[:-1])
    n, m = noise._point(parent, (SIZE,)), noise._point(key, (SIZE,))
    size = float(np.linalg.norm(n))
    return float(np.linalg.norm(m)) / size, float(np.sum(n * m)) / size**2, float(np.linalg.norm(m - n)) / size


@pytest.mark.parametrize("name", ["zero-order", "zero-order, the paper's", "polish"])
@pytest.mark.parametrize(
    ("settings", "cosine", "stride"),
    [
        ({}, 0.99, (2 - 2 * 0.99) ** 0.5),
        ({"cosine": 0.6}, 0.6, (2 - 2 * 0.6) ** 0.5),
        ({"stride": 0.3}, 1 - 0.3**2 / 2, 0.3),
        ({"stride": 1.7}, 1 - 1.7**2 / 2, 1.7),
    ],
)
def test_neighbours_lie_at_the_stated_distance(
    name: str, settings: dict[str, Any], cosine: float, stride: float
) -> None:
    world = World(2)
    literal: dict[str, Any] = {"pivot": "paper"} if "paper" in name else {}
    world.search(name.split(",")[0], 20 * 4, **settings, **literal)
    near = [key for mine in world.batch.windows for key in mine.keys if key.lineage[-1][0] == "near"]
    assert len(near) == {"zero-order": 38, "polish": 8}.get(name, 40)
    for key in near:
        size, angle, chord = distance_of(key)
        assert size == pytest.approx(1.0, rel=1e-12)
        assert angle == pytest.approx(cosine, rel=1e-12)
        assert chord == pytest.approx(stride, rel=1e-12)


@pytest.mark.parametrize("name", ["random", "zero-order", "polish", "paths", "steering"])
def test_runs_start_from_the_noise_that_their_keys_name(name: str) -> None:
    world = World(2)
    world.search(name, 60)
    starts = {(one.window, one.x) for one in world.seen if one.sigma == SIGMAS[0]}
    for window, mine in enumerate(world.batch.windows):
        for key in mine.keys:
            x = SIGMAS[0] * draw(key.origin, (SIZE,)).double()
            assert (window, x.numpy().tobytes()) in starts


def test_a_pivot_that_stays_gets_new_neighbours() -> None:
    world = World(2)
    world.search("zero-order", 30 * 4, cosine=0.2, neighbours=3)
    for mine in world.batch.windows:
        assert len(set(mine.keys)) == len(mine.keys) == 30
        assert max(Counter(key.lineage[:-1] for key in mine.keys).values()) > 3


@pytest.mark.parametrize("solver", ["euler", "heun", "dpmpp-2m", "unipc"])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        *(
            ("paths", {}),
            ("paths", DESCENT),
            ("steering", {}),
            ("steering", {"eta": 0.3}),
            ("polish", {}),
            ("screen", {}),
        ),
        *(("steering", {"funnel": (0.3,)}), ("evolution", {}), ("tree", {"eta": 0.5})),
    ],
)
def test_a_candidate_can_be_made_again_from_its_key_alone(name: str, settings: dict[str, Any], solver: str) -> None:
    """Also as it was written to a report and read back."""
    world = World(2, channels=2, solver=solver)
    world.search(name, 70, **settings)
    made = list(world.finished())
    assert len(made) >= 4
    for window, key, audio in made:
        written = NoiseKey.from_json(json.loads(json.dumps(key.to_json())))
        assert torch.allclose(world.again(window, written), audio, rtol=0, atol=1e-6)


def test_paths_go_up_and_down_as_planned() -> None:
    world = World(2)
    world.search("paths", 40, **DESCENT)
    moves = Counter(move[2:] for mine in world.batch.windows for key in mine.keys for move in key.lineage[-1:])
    assert moves == {(): 2 * 2, (1, 0): 2 * 4, (2, 1): 2 * 4, (3, 1): 2 * 4}
    for mine in world.batch.windows:
        assert len(set(mine.keys)) == len(mine.keys)


def test_paths_keep_the_best_of_a_round() -> None:
    world = World(4)
    world.search("paths", 80, **DESCENT)
    for mine in world.batch.windows:
        for depth in (2, 3):
            round_of = [number for number, key in enumerate(mine.keys) if len(key.lineage) == depth]
            parents = {key.lineage[:depth] for key in mine.keys if len(key.lineage) == depth + 1}
            said = {
                mine.keys[number].lineage: mine.candidates[number].previews[-1].scores["near"] for number in round_of
            }
            assert len(said) == 8
            assert len(parents) == 4
            assert min(said[parent] for parent in parents) > max(said[key] for key in set(said) - parents)


# Steering.


def test_steering_without_resampling_is_so_many_independent_ways() -> None:
    world = World(2)
    world.search("steering", 40, resample=0.0)
    for mine in world.batch.windows:
        ends = [mine.keys[number].lineage for number in sorted(mine.audio)]
        assert [lineage[0] for lineage in ends] == [("draw", i) for i in range(10)]
        assert [lineage[1:] for lineage in ends] == [
            tuple(("walk", i, step, 1.0) for step in range(3)) for i in range(10)
        ]


def test_strong_steering_breeds_from_the_best_particle() -> None:
    world = World(3)
    world.search("steering", 40, strength=1000.0, resample=1.0)
    for mine in world.batch.windows:
        parents = {mine.keys[number].lineage[:-1] for number in range(10, 20)}
        best = int(np.argmax([mine.candidates[number].previews[0].scores["near"] for number in range(10)]))
        assert parents == {mine.keys[best].lineage}
        assert len(set(mine.keys)) == len(mine.keys) == 40


def test_steering_weighs_particles_by_what_every_step_has_gained_since_they_were_drawn() -> None:
    """Equation by equation: potentials multiply, their effective size decides, and drawing anew makes them equal."""
    world = World(4)
    world.search("steering", 80, strength=0.9, resample=0.6, eta=0.5)
    times_drawn = []
    for own, mine in zip(world.keys, world.batch.windows, strict=True):
        number_of = {key: number for number, key in enumerate(mine.keys)}
        particles, potentials, before = list(range(20)), np.ones(20), np.zeros(20)
        times_drawn.append(0)
        for step in range(3):
            ranks = np.argsort(np.argsort([mine.candidates[number].previews[0].scores["near"] for number in particles]))
            z = (ranks - ranks.mean()) / ranks.std()
            potentials = potentials * np.exp(0.9 * (z - before))
            chosen = np.arange(20)
            if potentials.sum() ** 2 / (potentials**2).sum() < 0.6 * 20:
                chosen = systematic(np.log(potentials), uniform(own, step))
                potentials, times_drawn[-1] = np.ones(20), times_drawn[-1] + 1
            before = z[chosen]
            children = [mine.keys[particles[c]].child("walk", i, step, 0.5) for i, c in enumerate(chosen)]
            assert set(children) <= set(mine.keys)
            particles = [number_of[child] for child in children]
        assert sorted(particles) == sorted(mine.audio)
    assert len({0, *times_drawn, 3}) > 2, "now and then, not never and not always"


def test_a_funnel_starts_with_more_particles_and_ends_with_fewer() -> None:
    """Its steps are those of a budget that the plain one spends on fewer starts; the best end may not be lost."""
    funnel = World(3)
    funnel.search("steering", 40, funnel=(0.25,), strength=1000.0)
    for mine in funnel.batch.windows:
        assert Counter(len(key.lineage) for key in mine.keys) == {1: 18, 2: 11, 3: 7, 4: 4}
        assert len(mine.audio) == 4


def test_patience_weighs_early_scores_down() -> None:
    """With much of it the first step's weights are nearly equal, and systematic resampling keeps everybody."""
    hasty, patient = World(3), World(3)
    hasty.search("steering", 80, strength=4.0, resample=1.0)
    patient.search("steering", 80, strength=4.0, resample=1.0, funnel=(1.0, 8.0))
    for quick, slow in zip(hasty.batch.windows, patient.batch.windows, strict=True):
        parents = [{key.lineage[0] for key in mine.keys if len(key.lineage) == 2} for mine in (quick, slow)]
        assert len(parents[0]) < 12
        assert len(parents[1]) >= 19


# Evolution and trees.


def test_evolution_breeds_from_winners_and_keeps_elites() -> None:
    world = World(3)
    world.search("evolution", 40, generations=2, elites=3, cosine=0.7)
    for mine in world.batch.windows:
        first = [n for n, key in enumerate(mine.keys) if len(key.lineage) == 1]
        said = {mine.keys[n].lineage: mine.candidates[n].previews[0].scores["near"] for n in first}
        bred = [key for key in mine.keys if key.lineage[-1][0] == "near"]
        mean = np.mean([said[key.lineage[:1]] for key in bred])
        assert (len(first), len(bred)) == (11, 8)
        assert mean > np.mean(list(said.values()))
        assert {key.lineage[-1][2] for key in bred} == {0.7}
        assert {key.lineage[-1][0] for key in mine.keys[19:]} == {"renoise"}


def test_a_tree_goes_down_where_values_are_high() -> None:
    """With a low temperature its last ways share the first steps of good ones, with a high one they spread."""
    deep, wide = World(3), World(3)
    deep.search("tree", 120, temperature=0.05, widening=0.7)
    wide.search("tree", 120, temperature=50.0, widening=4.0)
    for few, many in zip(deep.batch.windows, wide.batch.windows, strict=True):
        draws = [sum(len(key.lineage) == 1 for key in mine.keys) for mine in (few, many)]
        assert draws[0] < draws[1]
        assert len(few.audio) > len(many.audio) > 20
        assert len(set(few.keys)) == len(few.keys) == 120


@pytest.mark.parametrize("seed", range(20))
def test_systematic_resampling_gives_everyone_its_share(seed: int) -> None:
    """Within one of N times the weight, whatever the number it starts from; on average exactly that."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(8))
    counts = [
        np.bincount(systematic(np.log(weights) + 7.0, (k + 0.5) / 4000), minlength=8) for k in range(4000)
    ]  # fmt: skip
    assert all(np.abs(count - 8 * weights).max() < 1 and count.sum() == 8 for count in counts)
    assert np.mean(counts, axis=0) == pytest.approx(8 * weights, abs=0.01)


def test_effective_size_goes_from_all_to_one() -> None:
    assert effective(np.full(7, -1000.0)) == pytest.approx(7)
    assert effective(np.array([0.0, -1000.0, -1000.0])) == pytest.approx(1)
    assert effective(np.log([0.5, 0.25, 0.25])) == pytest.approx(1 / (0.25 + 0.0625 + 0.0625))


def test_what_could_not_be_scored_steers_as_the_worst() -> None:
    z = standardised(np.array([1.0, -np.inf, 3.0, np.nan]))
    assert z == pytest.approx(standardised(np.array([1.0, 1.0, 3.0, 1.0])))
    assert (z.mean(), z.std()) == pytest.approx((0.0, 1.0))
    assert standardised(np.full(3, 2.0)).tolist() == standardised(np.full(3, -np.inf)).tolist() == [0.0] * 3


def test_resampling_numbers_are_uniform_and_a_windows_own() -> None:
    drawn = np.sort([uniform(NoiseKey(1, position=64 * w), step) for w in range(100) for step in range(10)])
    assert ((drawn >= 0) & (drawn < 1)).all()
    assert np.abs(drawn - (np.arange(1000) + 0.5) / 1000).max() < 1.63 / 1000**0.5  # Kolmogorov-Smirnov at 1 %


# Gradients.


@pytest.mark.parametrize(("through", "until"), [(2, 0), (4, None)])
def test_the_gradient_is_the_slope_of_the_score_along_a_turn_of_the_noise(through: int, until: int | None) -> None:
    """By finite differences, through a coarse run and through the whole one; several channels and windows at once."""
    world = World(2, channels=2)

    def search(problem: Problem) -> Search:
        first = yield from solve(problem.draws(2), until, through, gradient=True)
        return (yield from solve(resume(first)))[0] if until == 0 else first[0]

    def value(noise: torch.Tensor, window: int) -> float:
        x = SIGMAS[0] * noise.double().repeat(2, 1)
        x0 = world.sampler(world.denoiser(window), x, world.coarse(SIGMAS[0], through))[0]
        return -float((x0 - world.batch.windows[window].reference).square().mean())

    world.wander(search)
    for window, mine in enumerate(world.batch.windows):
        slope = mine.candidates[1].slope
        assert slope is not None
        noise, steps = slope.noise.double(), 1e-4 * torch.eye(SIZE, dtype=torch.float64)
        wanted = torch.tensor([value(noise + d, window) - value(noise - d, window) for d in steps], dtype=noise.dtype)
        found = slope.gradient.double() / slope.gradient.double().norm()
        assert torch.allclose(found, wanted / wanted.norm(), atol=2e-3)


def test_a_turned_noise_keeps_its_norm_in_every_octave_and_goes_no_further_than_it_says() -> None:
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((12, 50), dtype=np.float32))
    slope = torch.zeros(12, 50)
    slope[3:5, 20:30] = 1.0
    turned = ascended(noise, slope, 0.98)
    shell = shells(tuple(noise.shape)).ravel()
    before, after = (np.bincount(shell, np.abs(np.fft.fftn(x.numpy())).ravel() ** 2) for x in (noise, turned))
    assert after == pytest.approx(before, rel=1e-4)
    assert float((turned * slope).sum()) > float((noise * slope).sum()) + 5
    assert 0.98 < float((noise * turned).sum() / noise.square().sum()) < 1
    for nothing in (torch.zeros(12, 50), torch.full((12, 50), torch.nan)):
        assert ascended(noise, nothing, 0.9) is noise


def test_a_chain_ascends_and_its_best_position_goes_on() -> None:
    world = World(3)
    world.search("gradient", 60, chains=1)
    for mine in world.batch.windows:
        seen = [each.previews[0].scores["near"] for each in mine.candidates]
        assert len(seen) == 8
        assert max(seen) > seen[0]
        assert [key.lineage[-1][:2] for key in mine.keys] == [("draw", 0), *(("ascend", i) for i in range(1, 8))]
        assert list(mine.audio) == [int(np.argmax(seen))]


def test_what_cannot_have_a_gradient_is_refused() -> None:
    def walking(problem: Problem) -> Search:
        first = yield from solve(problem.draws(1), 1)
        return (yield from solve(resume(first), gradient=True))[0]

    with pytest.raises(SearchFaultError, match="gradient of a rollout that does not start from noise"):
        World(1).wander(walking)

    def blind(problem: Problem) -> Search:
        first = yield from solve(problem.draws(1))
        return (yield from solve([Rollout(first[0].key.child("ascend", 1, 0.9), first[0])]))[0]

    with pytest.raises(SearchFaultError, match="candidate 0 of window 0 was solved without its gradient"):
        World(1).wander(blind)
    with pytest.raises(OptionError, match="is a way, not a starting noise"):
        draw(NoiseKey(0).child("draw", 0).child("ascend", 1, 0.9).child("near", 0, 0.9), (SIZE,))


# Batches.


@pytest.mark.parametrize("solver", ["heun", "dpmpp-2m"])
@ALL_SEARCHES
def test_batch_size_changes_neither_candidates_nor_choice(name: str, solver: str) -> None:
    worlds = [World(4, channels=2, solver=solver) for _ in range(3)]
    runs = [world.search(name, 45, batch=batch) for world, batch in zip(worlds, (1, 4, 64), strict=True)]
    assert [max(world.batches) for world in worlds[:2]] == [1, 4]
    assert max(worlds[2].batches) > 4
    for world, theirs in zip(worlds[1:], runs[1:], strict=True):
        assert [run.winner for run in theirs] == [run.winner for run in runs[0]]
        assert [run.nfe for run in theirs] == [run.nfe for run in runs[0]]
        for mine, one in zip(worlds[0].batch.windows, world.batch.windows, strict=True):
            assert mine.keys == one.keys
            assert [each.step for each in mine.candidates] == [each.step for each in one.candidates]
            assert mine.scores["near"] == pytest.approx(one.scores["near"], rel=1e-9, nan_ok=True)


@ALL_SEARCHES
def test_the_other_windows_change_nothing_in_one(name: str) -> None:
    several, alone = World(3), World(1)
    winner = several.search(name, 50)[0].winner
    assert winner == alone.search(name, 50)[0].winner
    assert several.batch.windows[0].keys == alone.batch.windows[0].keys


def test_batches_fill_across_windows() -> None:
    world = World(8)
    world.search("zero-order", 9 * 4, batch=16, neighbours=2)
    assert world.batches == [8, 16, 16, 16, 16]  # one pivot a window, then two neighbours a window and round


def test_answers_come_in_the_order_of_their_legs_whatever_batches_they_made() -> None:
    world = World(2)

    def search(problem: Problem) -> Search:
        half = yield from solve(problem.draws(1), 2)
        rollouts = [*problem.draws(1, 7), *resume(half), *problem.draws(1, 8)]
        mixed = yield from solve(rollouts)
        assert [candidate.key for candidate in mixed] == [rollout.key for rollout in rollouts]
        return (yield from choose(mixed))

    world.wander(search)
    assert world.batches == [2, 4, 2]


def test_a_search_that_asks_for_too_much_is_found_out() -> None:
    world = World(1)
    run = Run(start_search("random", Problem(world.keys[0], world.plan), Budget(12), {}), Budget(11), world.plan)
    with pytest.raises(RuntimeError, match="asked for 12 of 11"):
        world.finish([run])


# Time.


def check_cut(world: World, runs: Sequence[Run], reason: str | None) -> None:
    """Every window has a finished winner, the best of what came to its end, and spent what it says."""
    spent = world.spent()
    for window, run in enumerate(runs):
        mine = world.batch.windows[window]
        winner = world.winner(run)
        assert winner.step == world.plan.steps
        assert world.value(window, winner) == max(mine.scores["near"][number] for number in mine.audio)
        assert run.cut == reason
        assert {spent[window, channel] for channel in range(world.channels)} == {run.nfe}
        assert run.nfe <= run.budget.nfe


@ALL_COURSES
@ALL_SEARCHES
@pytest.mark.parametrize("how", ["no room", "halted", "given up"])
def test_time_that_is_up_at_once_leaves_every_window_one_candidate(how: str, name: str, solver: str) -> None:
    world = World(3, channels=2, solver=solver)
    runs = world.start(name, 12 * RUN[solver])
    whole = world.solve

    def essentials(tasks: Sequence[Task]) -> bool:
        return any(task.essential for task in tasks) and whole(tasks)

    if how == "given up":
        world.solve = essentials  # type: ignore[method-assign]
    options: dict[str, dict[str, Callable[..., Any]]] = {
        "no room": {"room": lambda: 0.0},
        "halted": {"halt": lambda window: "interrupted"},
        "given up": {},
    }
    world.finish(runs, batch=2, **options[how])
    check_cut(world, runs, "interrupted" if how == "halted" else "time")
    if how != "given up":  # where the essential ones of three windows left a place free
        assert [len(mine.audio) for mine in world.batch.windows] == [1, 1, 1]


@ALL_COURSES
@ALL_SEARCHES
def test_time_may_be_up_at_any_batch(name: str, solver: str) -> None:
    """Never an error, never more than the budget, always a winner."""
    most = World(1, solver=solver).search(name, 5 * RUN[solver])[0].nfe
    for after in range(0, 34, 3):
        world = World(1, solver=solver)
        runs = world.start(name, 5 * RUN[solver])
        world.finish(runs, batch=1, halt=after_batches(world, after))
        check_cut(world, runs, runs[0].cut)
        assert runs[0].cut in ("time", None)
        assert runs[0].cut == "time" or runs[0].nfe == most


def after_batches(world: World, count: int) -> Callable[[int], str | None]:
    return lambda window: "time" if len(world.batches) >= count else None


def test_a_window_that_halts_leaves_the_others_their_budget() -> None:
    world = World(3)
    runs = world.start("random", 40)
    world.finish(runs, batch=4, halt=lambda window: "interrupted" if window == 1 else None)
    assert [run.cut for run in runs] == [None, "interrupted", None]
    assert [run.nfe for run in runs] == [40, 4, 40]


def test_what_is_essential_to_one_window_goes_before_what_another_would_like() -> None:
    world = World(2)

    def wishing(problem: Problem) -> Search:
        first = yield from solve(problem.draws(1), essential=1)
        return [*first, *(yield from solve(problem.draws(3, 1)))][0]

    def needing(problem: Problem) -> Search:
        first = yield from solve(problem.draws(1), 2, essential=1)
        return (yield from solve(resume(first), essential=1))[0]

    searches = [search(Problem(key, world.plan)) for search, key in zip((wishing, needing), world.keys, strict=True)]
    runs = world.finish([Run(search, Budget(40), world.plan) for search in searches], batch=1, room=lambda: 0.0)
    check_cut(world, runs[:1], "time")
    assert [run.nfe for run in runs] == [4, 4]
    assert [len(mine.audio) for mine in world.batch.windows] == [1, 1]


def test_room_is_shared_evenly_and_never_overdrawn() -> None:
    world = World(3)
    runs = world.start("random", 40)
    world.finish(runs, batch=5, room=lambda: 47 - sum(run.nfe for run in runs))
    assert sorted(run.nfe for run in runs) == [12, 16, 16]
    assert {run.cut for run in runs} == {"time"}


@pytest.mark.parametrize("name", ["random", "zero-order", "polish"])
def test_a_target_that_is_met_stops_its_window_early(name: str) -> None:
    """Of three windows one asks for what nobody reaches; it spends all that it may."""
    world = World(3)
    runs, targets = world.start(name, 40 * 4, **({} if name == "random" else {"cosine": 0.9})), (-1.0, 1.0, -0.5)

    def met(window: int) -> str | None:
        mine = world.batch.windows[window]
        reached = any(mine.scores["near"][number] >= targets[window] for number in mine.audio)
        return "target" if reached else None

    world.finish(runs, batch=3, halt=met)
    assert [run.cut for run in runs] == ["target", None, "target"]
    assert runs[1].nfe == 160
    for window in (0, 2):
        mine, run = world.batch.windows[window], runs[window]
        assert run.nfe < 160
        assert world.value(window, world.winner(run)) >= targets[window]
        assert sum(said >= targets[window] for said in mine.scores["near"]) <= 3, "it went on after it was met"


# What is asked of it.

COURSE = SamplingPlan(SIGMAS)


def begin(name: str, settings: dict[str, Any], plan: SamplingPlan = COURSE) -> Run:
    return Run(start_search(name, Problem(NoiseKey(0), plan), Budget(100), settings), Budget(100), plan)


def test_unknown_searches_and_settings_are_refused_with_the_known_ones() -> None:
    with pytest.raises(OptionError, match=f"unknown search 'greedy'; known: {', '.join(sorted(SEARCHES))}"):
        begin("greedy", {})
    with pytest.raises(OptionError, match="unknown search 'greedy'"):
        search_settings("greedy")
    with pytest.raises(OptionError, match="'random' does not take cosine; its settings: none"):
        begin("random", {"cosine": 0.9})
    with pytest.raises(OptionError, match="'halving' does not take eta, sharpness; its settings: rungs, keep"):
        begin("halving", {"eta": 0.9, "sharpness": 1, "keep": 0.5})


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_table_names_the_settings_that_a_search_takes(name):
    assert list(search_settings(name)) == list(signature(SEARCHES[name]).parameters)[2:]
    assert search_misfit(SEARCHES[name]) is None


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("zero-order", {"neighbours": 0}, "at least 1 neighbour a round, not 0"),
        ("zero-order", {"cosine": 0.9, "stride": 0.1}, "pass one of them"),
        ("zero-order", {"stride": 2.5}, "stride 2.5 is not between 0 and 2"),
        ("zero-order", {"cosine": 1.5}, "cosine 1.5 is not between -1 and 1"),
        ("zero-order", {"cosine": "nan"}, "cosine nan is not between -1 and 1"),
        ("zero-order", {"pivot": "greedy"}, "unknown pivot 'greedy'; known: elitist, paper"),
        ("polish", {"share": 1.0}, "share of 1 of the budget"),
        ("polish", {"share": -0.1}, "share of -0.1 of the budget"),
        ("polish", {"neighbours": 0}, "at least 1 neighbour a round, not 0"),
        ("polish", {"cosine": -1.5}, "cosine -1.5 is not between -1 and 1"),
        ("polish", {"stride": -0.1}, "stride -0.1 is not between 0 and 2"),
        ("halving", {"keep": 1.0}, "a part of 1 to keep"),
        ("halving", {"keep": 0.0}, "a part of 0 to keep"),
        ("halving", {"rungs": (0.5, 0.25)}, "rungs 0.5, 0.25; above 0"),
        ("halving", {"rungs": (0.5, 1.0)}, "rungs 0.5, 1; above 0"),
        ("halving", {"rungs": ()}, "rungs ; above 0"),
        ("screen", {"coarse": 0}, "0 coarse steps; from 1 to 3"),
        ("screen", {"coarse": 4}, "4 coarse steps; from 1 to 3"),
        ("screen", {"finish": 0.0}, "a part of 0 to finish"),
        ("screen", {"finish": 1.1}, "a part of 1.1 to finish"),
        ("paths", {"branches": 0}, "0 branches; at least 1"),
        ("paths", {"level": 1.0}, "level 1, rise"),
        ("paths", {"rise": 0.9}, "fall above rise"),
        ("steering", {"strength": 0.0}, "strength 0 above 0"),
        ("steering", {"strength": "nan"}, "strength nan above 0"),
        ("steering", {"strength": "inf"}, "strength inf above 0"),
        ("steering", {"eta": 0.0}, "eta 0 above 0 to 1"),
        ("steering", {"eta": 1.1}, "eta 1.1 above 0 to 1"),
        ("steering", {"resample": -0.1}, "resample -0.1 from 0 to 1"),
        ("census", {"every": 0}, "every 0 steps; at least 1"),
        ("steering", {"funnel": (0.0,)}, "funnel 0: above 0 to 1"),
        ("steering", {"funnel": (1.0, -1.0)}, "funnel 1,-1: above 0 to 1, then a power"),
        ("evolution", {"elites": 0}, "elites 0"),
        ("evolution", {"cosine": 1.0}, "cosine 1 below 1"),
        ("evolution", {"share": 1.0}, "share 1 above 0"),
        ("tree", {"temperature": 0.0}, "temperature 0 and"),
        ("tree", {"ways": 0}, "ways 0 from 1 on"),
        ("gradient", {"chains": 0}, "0 chains, stride 0.2"),
        ("gradient", {"stride": 0.0}, "stride 0, through"),
        ("gradient", {"stride": 1.1}, "stride 1.1, through"),
        ("gradient", {"through": 0}, "through 0 steps"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_rendered(
    name: str, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(OptionError, match=says):
        begin(name, settings)


@pytest.mark.parametrize("name", ["halving", "paths", "screen", "evolution"])
def test_a_run_of_one_step_has_no_middle_to_look_at(name: str) -> None:
    with pytest.raises(OptionError, match="--steps"):
        begin(name, {}, SamplingPlan((8.0, 0.0)))


@pytest.mark.parametrize("name", ["random", "zero-order", "polish", "steering", "census", "tree"])
def test_a_run_of_one_step_is_enough_for_the_others(name: str) -> None:
    world = World(2, levels=(8.0, 0.0))
    assert [run.nfe for run in world.search(name, 5)] == [5, 5]
    assert [run.nfe for run in World(2, levels=(8.0, 0.0)).search("gradient", 8)] == [6, 6]


def test_texts_are_read_as_what_the_setting_is() -> None:
    assert read_setting("halving", "rungs", "0.25,0.5, 0.75") == (0.25, 0.5, 0.75)
    assert read_setting("halving", "keep", "1e-1") == 0.1
    assert read_setting("zero-order", "cosine", "0.95") == 0.95
    assert read_setting("zero-order", "pivot", "paper") == "paper"
    branches = read_setting("paths", "branches", "3")
    assert (branches, type(branches)) == (3, int)
    assert read_setting("zero-order", "cosine", None) is None
    assert read_setting("paths", "level", 0.2) == 0.2


@pytest.mark.parametrize(
    ("name", "key", "text"),
    [
        ("halving", "rungs", "0.25;0.5"),
        ("halving", "rungs", ""),
        ("halving", "keep", "half"),
        ("zero-order", "neighbours", "2.5"),
        ("zero-order", "stride", "far"),
        ("screen", "coarse", "two"),
    ],
)
def test_texts_that_are_no_numbers_are_refused(name: str, key: str, text: str) -> None:
    with pytest.raises(OptionError, match=f"search '{name}': {key}={text} is not a number"):
        begin(name, {key: text})


def test_text_settings_do_what_the_others_do() -> None:
    texts: dict[str, Any] = {"rungs": "0.25,0.75", "keep": "0.3"}
    written, given = World(2), World(2)
    said = written.search("halving", 60, **texts)
    assert [run.winner for run in said] == [
        run.winner for run in given.search("halving", 60, rungs=(0.25, 0.75), keep=0.3)
    ]
    steps = [[each.step for each in world.batch.windows[0].candidates] for world in (written, given)]
    assert steps[0] == steps[1]
    assert stride_to_cosine(0.5) == 0.875


def test_a_request_that_is_none_is_refused_and_does_not_hang() -> None:
    def strange(_problem: Problem) -> Any:
        yield "hello"

    with pytest.raises(SearchFaultError, match="neither a Solve nor a Score"):
        Run(strange(Problem(NoiseKey(0), COURSE)), Budget(100), COURSE)

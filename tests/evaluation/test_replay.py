"""Kept scores and what is made of them: policies whose outcome is known, hacked verifiers, and a run that is kept."""

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Ttsr, save, voice
from numpy.typing import NDArray

from ttsr_studio.engines.builtin.engine import WEIGHTS
from ttsr_studio.evaluation.replay.scaling_report import write_scaling
from ttsr_studio.evaluation.replay.selection import Voter, segment_votes, votes
from ttsr_studio.verifiers.ensemble import combine
from ttsr_studio.verifiers.panel import Panel
from ttsr_studio.verifiers.rules import RULES, Rule

Array = NDArray[np.float64]
needs_weights = pytest.mark.skipif(not WEIGHTS.is_file(), reason="the built-in engine's weights are not there")

DRAWS, STEPS = 16, 4


def record(
    scores: Mapping[str, Sequence[float]],
    clip: str = "a",
    window: int = 0,
    previews: Mapping[int, Mapping[str, Sequence[float]]] | None = None,
    segments: Mapping[str, Sequence[Sequence[float]]] | None = None,
    edges: Sequence[float] = (0.0, 4.0),
    kind: str = "speech",
) -> dict[str, Any]:
    """A window of a score file from arrays by column: scores [M], previews by step [M], segments [M, S]."""
    count = len(next(iter(scores.values())))
    return {
        "schema": "ttsr-rewards-2", "clip": clip, "kind": kind, "cutoff_hz": 4000.0, "window": window,
        "start_s": 0.0, "stop_s": 4.0, "plan": {"steps": STEPS, "evaluations": 1, "each": 1},
        "edges_s": list(edges), "input": {},
        "candidates": [
            {
                "key": {"seed": 0, "position": 0, "group": 0, "lineage": [["draw", i]]},
                "step": STEPS,
                "previews": [
                    {"step": step, "scores": {name: float(values[i]) for name, values in said.items()}}
                    for step, said in (previews or {}).items()
                ],
                "scores": {name: float(values[i]) for name, values in scores.items()},
                "segments": {name: list(map(float, values[i])) for name, values in (segments or {}).items()},
            }
            for i in range(count)
        ],
    }  # fmt: skip


def write(path: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """40 clips of two windows: `right` says the truth, `noise` says nothing, `half` is the truth and as much noise."""
    rng = np.random.default_rng(5)
    records = []
    for clip in range(40):
        for window in range(2):
            truth, noise = -2 + 0.3 * rng.standard_normal(DRAWS), rng.standard_normal(DRAWS)
            half = truth + 0.3 * rng.standard_normal(DRAWS)
            scores = {"right": truth, "noise": noise, "half": half, "lsd": truth}
            previews = {1: {"half": truth}, 2: {"half": half, "right": truth}, 3: {"half": half, "right": -truth}}
            records.append(record(scores, f"clip {clip}", window, previews))
    return write(tmp_path / "rewards.jsonl", records)


def replayed(ttsr: Ttsr, file: Path, *policies: str, options: Sequence[object] = ()) -> dict[str, dict[str, Any]]:
    """What a replay says of every policy, over all clips of one kind and cutoff."""
    done = ttsr("replay", file, "--json", *options, *(x for policy in policies for x in ("--policy", policy)))
    assert done.exit_code == 0, done.output
    return {one["policy"]: one for one in json.loads(done.output)["policies"]}


def truths(file: Path) -> Array:
    """[windows, M]."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return np.array([[candidate["scores"]["lsd"] for candidate in line["candidates"]] for line in lines])


def best_of(values: Array, n: int) -> float:
    """Expected best of n of M values drawn without replacement: the i-th smallest with C(i - 1, n - 1) / C(M, n)."""
    values = np.sort(values, axis=-1)
    m = values.shape[-1]
    chances = np.array([math.comb(i, n - 1) / math.comb(m, n) for i in range(m)])
    return float((values @ chances).mean())


def test_a_verifier_that_knows_the_truth_closes_all_and_noise_closes_nothing(ttsr: Ttsr, corpus: Path) -> None:
    said = replayed(ttsr, corpus, "right: verifier=right", "noise: verifier=noise", "one: n=1", "half: verifier=half")
    right, noise, one, half = (said[name] for name in ("right", "noise", "one", "half"))
    assert (right["closed"]["mean"], right["clips"], right["nfe"]["mean"]) == (pytest.approx(1), 40, 4 * DRAWS)
    assert right["value"]["mean"] == pytest.approx(truths(corpus).max(axis=1).mean())
    assert noise["closed"]["low"] < 0 < noise["closed"]["high"]
    assert one["gain"]["mean"] == pytest.approx(0, abs=1e-12), "a random choice is what gains are counted from"
    assert one["value"]["mean"] == pytest.approx(truths(corpus).mean())
    assert 0.4 < half["closed"]["mean"] < 0.9
    assert half["gain_sd"]["mean"] == pytest.approx(half["gain"]["mean"] / truths(corpus).std(axis=1).mean(), rel=0.1)
    difference = noise["difference"]
    assert difference["mean"] == pytest.approx(noise["value"]["mean"] - right["value"]["mean"])
    assert difference["high"] < 0, "the first policy is better on the same clips"


def test_the_best_of_n_is_expected_over_all_n_of_the_draws(ttsr: Ttsr, corpus: Path) -> None:
    sizes = (1, 2, 5, 8, DRAWS)
    policies = [f"{n}: n={n} verifier=right" for n in sizes]
    said = replayed(ttsr, corpus, *policies, options=("--orders", 2000))
    for n in sizes:
        exact = best_of(truths(corpus), n)
        assert said[str(n)]["value"]["mean"] == pytest.approx(exact, abs=0.005), f"best of {n}"
        assert said[str(n)]["nfe"]["mean"] == 4 * n
    assert replayed(ttsr, corpus, *policies) == replayed(ttsr, corpus, *policies), "the orders are keyed"


def test_halving_costs_what_a_hand_count_says_and_prunes_by_previews(ttsr: Ttsr, corpus: Path) -> None:
    """With 4 steps rungs .5 and .75 are after steps 2 and 3: 15 starts take 15 x 2, then 7 and 3 one more each."""
    said = replayed(
        ttsr, corpus,
        "even: nfe=40 search=halving rungs=0.5,0.75 verifier=half",
        "one rung: n=8 search=halving rungs=0.5 keep=0.25 verifier=half",
        "fooled: n=16 search=halving rungs=0.5,0.75 verifier=right", "random: nfe=40 verifier=half",
        options=("--orders", 2000),
    )  # fmt: skip
    assert said["even"]["nfe"]["mean"] == 15 * 2 + 7 + 3
    assert said["one rung"]["nfe"]["mean"] == 8 * 2 + 2 * 2
    assert said["random"]["nfe"]["mean"] == 40
    assert said["even"]["value"]["mean"] > said["random"]["value"]["mean"], "previews equal to scores prune for nothing"
    best_of_8 = replayed(ttsr, corpus, "8: n=8 verifier=half", options=("--orders", 2000))["8"]
    assert said["one rung"]["value"]["mean"] == pytest.approx(best_of_8["value"]["mean"], abs=0.01)
    # Of 16 the 8 best go on, of these the 4 that look best at step 3, which are the worst 4: the 5th best remains.
    fifth = np.sort(truths(corpus), axis=1)[:, -5].mean()
    assert said["fooled"]["value"]["mean"] == pytest.approx(fifth)


def test_the_mean_render_that_a_verifier_needs_is_counted_as_in_a_render(ttsr: Ttsr, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    clips = [{name: rng.standard_normal(DRAWS) for name in ("critic", "consensus", "lsd")} for _ in range(3)]
    early = {1: {"critic": rng.standard_normal(DRAWS)}}
    file = write(tmp_path / "r.jsonl", [record(one, f"c{i}", previews=early) for i, one in enumerate(clips)])
    both = "verifier=critic+consensus"
    policies = (
        f"n: n=4 {both}",
        f"nfe: nfe=24 {both}",
        "alone: nfe=24 verifier=critic",
        f"clip: n=4 choice=clip {both}",
    )
    said = replayed(ttsr, file, *policies, f"h: nfe=24 search=halving rungs=0.25 {both}")
    costs = {name: one["nfe"]["mean"] for name, one in said.items()}
    # 22 are left of 24: 5 whole runs of 4; of 9 starts 4 go on (9 + 4 x 3 = 21), of 10 it would be 5 (25).
    assert costs == {"n": 18, "nfe": 5 * 4 + 2, "alone": 24, "clip": 18, "h": 9 + 4 * 3 + 2}
    told = ttsr("replay", file, "--policy", f"a: nfe=5 {both}").output
    assert "nfe=5 is not enough for one run of 4 evaluations and 2 of the mean render" in told
    told = ttsr("replay", file, "--policy", "a: search=halving rungs=0.5 verifier=critic").output
    assert "no previews at step 2 in the file, which has 1; draw with --search census --set every=1" in told


def test_a_target_stops_at_the_first_draw_that_has_it(ttsr: Ttsr, tmp_path: Path) -> None:
    """The first of k good ones among M in random order is met after (M + 1) / (k + 1) draws on average."""
    good = [1.0] * 3 + [0.0] * 9
    file = write(tmp_path / "r.jsonl", [record({"critic": good, "lsd": good}, f"c{i}") for i in range(30)])
    policies = ("met: verifier=critic target=critic:0.5", "never: n=4 verifier=critic target=critic:2")
    said = replayed(ttsr, file, *policies, options=("--orders", 500))
    assert said["met"]["nfe"]["mean"] == pytest.approx(4 * 13 / 4, rel=0.03)
    assert said["met"]["value"]["mean"] == 1
    assert said["never"]["nfe"]["mean"] == 16


def test_choices_by_segment_window_and_clip(ttsr: Ttsr, tmp_path: Path) -> None:
    """Draw 0 is best in the first window and draw 1 in the second; in each, draw 2 has the better second segment."""
    first, second = [3.0, 0.0, 1.0], [0.0, 2.5, 1.0]
    records = []
    for window, scores in enumerate((first, second)):
        parts = [[scores[0], -1.0], [scores[1], -1.0], [0.0, 2.0]]
        both = {"critic": scores, "lsd": scores}
        records.append(record(both, window=window, segments={"critic": parts, "lsd": parts}, edges=(0, 1, 4)))
    file = write(tmp_path / "r.jsonl", records)
    said = replayed(
        ttsr, file, *(f"{choice}: verifier=critic choice={choice}" for choice in ("window", "segment", "clip"))
    )
    assert said["window"]["value"]["mean"] == pytest.approx((3 + 2.5) / 2)
    assert said["clip"]["value"]["mean"] == pytest.approx((3 + 0) / 2), "one draw for all windows: the best mean"
    # Above the mean of each segment, a quarter and three quarters of the time: (3 - 1, 2 - 0), (2.5 - 2.5 / 3, 2 - 0).
    above = (0.25 * 2 + 0.75 * 2 + 0.25 * (2.5 - 2.5 / 3) + 0.75 * 2) / 2
    assert said["segment"]["gain"]["mean"] == pytest.approx(above)


@pytest.mark.parametrize("rule", RULES)
def test_ensembles_are_those_of_a_search(rule: Rule) -> None:
    rng = np.random.default_rng(1)
    columns = {name: rng.standard_normal(12).round(1) for name in ("critic", "typical", "eyes/a", "eyes/b", "flat")}
    columns["flat"][:] = 7
    gaps = columns | {"critic": np.where(np.arange(12) % 5 == 0, np.nan, columns["critic"])}
    drawn = rng.permuted(np.tile(np.arange(12), (20, 1)), axis=1)[:, :7]
    for scores in (columns, gaps):
        for row, said in zip(drawn, votes(scores, drawn, rule), strict=True):
            expected = combine({name: values[row] for name, values in scores.items()}, rule).values
            assert np.allclose(said, expected, equal_nan=True)
    parts = {name: rng.standard_normal((12, 3)) for name in columns}
    heard = np.ones(drawn.shape, bool)
    names = ("critic", "typical", "eyes", "flat")
    panel = Panel(tuple(Voter(name) for name in names), rule=rule)  # type: ignore[arg-type]
    count = len(names) - (rule == "pessimism")
    for row, said in zip(drawn, segment_votes(parts, drawn, heard, rule), strict=True):
        assert np.allclose(count * panel.combine_segments({name: values[row] for name, values in parts.items()}), said)


def test_rules_that_hedge_are_replayed(ttsr: Ttsr, tmp_path: Path) -> None:
    """The verifier is gamed: what it likes best is bad, and is like no other draw."""
    rng = np.random.default_rng(2)
    records = []
    for clip in range(12):
        truth = rng.standard_normal(DRAWS)
        gamed, like = truth.copy(), -1 + 0.1 * rng.standard_normal(DRAWS)
        gamed[3], truth[3], like[3] = 6.0, -6.0, -4.0
        records.append(record({"critic": gamed, "typical": like, "lsd": truth}, f"clip {clip}"))
    file = write(tmp_path / "r.jsonl", records)
    said = replayed(
        ttsr, file, "plain: n=16 verifier=critic", "cautious: n=16 verifier=critic ensemble=pessimism",
        "poisson: n=16 search=poisson mean=0.25 verifier=critic", "poisson less: n=16 search=poisson verifier=critic",
    )  # fmt: skip
    assert said["plain"]["value"]["mean"] == pytest.approx(-6)
    assert said["cautious"]["value"]["mean"] > 1
    assert said["plain"]["value"]["mean"] < said["poisson less"]["value"]["mean"] < said["poisson"]["value"]["mean"]
    assert said["poisson"]["nfe"]["mean"] == pytest.approx(4 * 4, rel=0.1)
    refused = ttsr("replay", file, "--policy", "a: n=2 verifier=critic choice=segment ensemble=shrunk")
    assert "segments are combined by deviations; no ensemble but pessimism" in refused.output


def test_previews_are_compared_by_verifier_and_step(ttsr: Ttsr, corpus: Path) -> None:
    done = ttsr("replay", corpus, "--looks", "--json")
    said = {(one["verifier"], one["step"]): one for one in json.loads(done.output)["looks"]}
    assert set(said) == {("half", 1), ("half", 2), ("half", 3), ("right", 2), ("right", 3)}
    assert said["right", 2]["own"]["mean"] == said["right", 2]["by"]["mean"] == said["half", 1]["by"]["mean"] == 1
    assert said["right", 3]["own"]["mean"] == -1
    assert said["half", 2]["own"]["mean"] == 1 > said["half", 2]["by"]["mean"] > 0.5
    assert said["half", 2]["spent"] == 0.5
    assert "| half | 1 | 25 % |" in ttsr("replay", corpus, "--looks").output


def test_score_files_of_older_versions_are_read(ttsr: Ttsr, corpus: Path) -> None:
    ask = ("replay", corpus, "--looks", "--json")
    new = ttsr(*ask).output
    old = corpus.read_text().replace("ttsr-rewards-2", "ttsr-rewards-1")
    corpus.write_text(old.replace('"plan"', '"course"').replace('"previews"', '"looks"'))
    assert len(json.loads(new)["looks"]) > 3
    assert ttsr(*ask).output == new


def test_a_clip_drawn_again_counts_once_as_it_was_drawn_last(ttsr: Ttsr, tmp_path: Path) -> None:
    old = [record({"lsd": [0.0, 1.0]}, window=window) for window in range(3)]
    new = [record({"lsd": [5.0, 6.0]}, window=window) for window in range(2)]
    said = replayed(ttsr, write(tmp_path / "r.jsonl", [*old, *new]), "best: verifier=lsd")
    assert (said["best"]["value"]["mean"], said["best"]["clips"]) == (6, 1)


def test_without_an_oracle_another_column_is_the_outcome(ttsr: Ttsr, tmp_path: Path) -> None:
    file = write(tmp_path / "r.jsonl", [record({"critic": [0.0, 1.0], "clap": [1.0, 0.0]}, f"c{i}") for i in range(4)])
    assert "give --by one of clap, critic" in ttsr("replay", file, "--policy", "a: verifier=critic").output
    said = replayed(ttsr, file, "a: verifier=critic", options=("--by", "clap"))
    assert said["a"]["closed"]["mean"] == -1
    table = ttsr("replay", file, "--policy", "a: verifier=critic", "--by", "clap").output
    assert "## speech, cutoff 4000 Hz (4 clips)" in table
    assert "| a | 0.000 [0.000, 0.000] |" in table


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("a: candidates=3", "unknown --policy key 'candidates'; known: choice, ensemble, keep, mean, n, nfe,"),
        ("a: n=4 nfe=9 verifier=half", "n and nfe exclude each other"),
        ("a: n=4", "who chooses? verifier=A+B; known: half, lsd, noise, right"),
        ("a: n=4 verifier=ears", "unknown policy 'a': verifier 'ears'; known: half, lsd, noise, right"),
        ("a: n=17 verifier=half", "17 draws, but the file holds 16 of a window (clip 0, 4000 Hz)"),
        ("a: nfe=3 verifier=half", "nfe=3 is not enough for one run of 4 evaluations"),
        ("a: search=halving rungs=0.5,0.75 verifier=noise", "verifier of previews 'noise'; known: half, right"),
        ("a: search=zero-order", "search=zero-order: unknown value 'zero-order'; known: halving, poisson, random"),
        ("a: rungs=0.5 verifier=half", "rungs: of search=halving only"),
        ("a: search=halving rungs=0.5,0.2 verifier=half", "above 0 and below 1, ascending"),
        ("a: verifier=half target=right:1", "unknown policy 'a': target 'right'; known: half"),
        ("a: verifier=half target=high", "target=high"),
        ("a n=3", "write NAME: KEY=VALUE"),
        ("random", "--policy 'random': write NAME: KEY=VALUE ..., such as 'best8: n=8 verifier=critic'"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_by_name(ttsr: Ttsr, corpus: Path, policy: str, message: str) -> None:
    done = ttsr("replay", corpus, "--policy", policy)
    assert (done.exit_code, message in done.output) == (2, True), done.output


def test_what_is_no_score_file_is_named_by_line(ttsr: Ttsr, tmp_path: Path) -> None:
    good = record({"critic": [0.0, 1.0], "lsd": [0.0, 1.0]})
    file = tmp_path / "r.jsonl"

    def said(bad: str) -> str:
        file.write_text(json.dumps(good) + "\n" + bad + "\n")
        done = ttsr("replay", file, "--policy", "a: verifier=critic")
        assert done.exit_code == 2
        return str(done.output)

    pruned = record({"critic": [0.0, 1.0], "lsd": [0.0, 1.0]}, window=1)
    pruned["candidates"][1]["step"] = 2
    assert "r.jsonl, line 2: not a line of scores" in said(json.dumps(good)[:-20])
    assert "line 2: not a line of scores: no 'schema'" in said("{}")
    assert "candidate 1 is not an independent draw run to its end" in said(json.dumps(pruned))
    assert "line 2: another sampling plan" in said(
        json.dumps(good | {"plan": {"steps": 4, "evaluations": 2, "each": 1}})
    )
    assert ttsr("replay", file).output.count("nothing to replay") == 1


def games(draws: int, clips: int, rate: float) -> list[dict[str, Any]]:
    """Draws of which a share `rate` games the verifier `hacked`, which else tells the truth, as `critic` half does."""
    rng = np.random.default_rng(3)
    records = []
    for clip in range(clips):
        for window in range(3):
            truth = -3 + rng.standard_normal(draws)
            gaming = rng.random(draws) < rate
            truth[gaming] = -6
            scores = {
                "critic": truth + rng.standard_normal(draws),
                "hacked": np.where(gaming, 5, truth) + 0.01 * rng.standard_normal(draws),
                "noise": 9 + rng.standard_normal(draws),
                "lsd": truth,
            }
            records.append(record(scores, f"c{clip}", window, kind="sfx"))
    return records


def test_a_verifier_that_is_gamed_raises_the_alarm_and_noise_does_not_transfer(tmp_path: Path) -> None:
    alarms = write_scaling(tmp_path, games(64, 12, 0.03), ["critic", "hacked", "noise"], 0, "made up")
    assert any("guided by hacked: lsd follows less" in alarm for alarm in alarms)
    assert not any("guided by critic" in alarm or "guided by noise" in alarm for alarm in alarms)
    with (tmp_path / "scaling.csv").open(newline="") as file:
        rows = {(row["guide"], row["column"], int(row["n"])): row for row in csv.DictReader(file)}
    assert {n for _, _, n in rows} == {1, 2, 4, 8, 16, 32, 64}
    hacked = [float(rows["hacked", "lsd", n]["transfer"]) for n in (2, 8, 64)]
    assert hacked[0] > hacked[1] > hacked[2]
    assert hacked[2] < -0.2, "the best by the gamed verifier is worse than a random choice"
    assert float(rows["hacked", "lsd", 64]["relative_percent_high"]) < 0
    assert abs(float(rows["noise", "lsd", 64]["transfer"])) < 0.15
    honest = rows["critic", "lsd", 64]
    assert float(honest["transfer_low"]) > 0.5
    assert float(honest["relative_percent"]) > 20
    assert float(honest["clips"]) == 12
    text = (tmp_path / "scaling.md").read_text()
    assert "| lsd | " in text
    assert "ALARM: falls" in text
    row = next(line for line in text.splitlines() if line.startswith("| sfx | 12 | critic |"))
    assert row.split("|")[4].strip() in ("8", "16", "32"), "the best of N of a bell curve bends at 16"
    assert "| sfx | 12 | noise | 1 (no gain clear of 0) |" in text, "where nothing is gained one draw is enough"
    assert "| sfx | critic+consensus | sfx | 16 | – | not scored here: consensus |" in text
    assert (tmp_path / "scaling.png").stat().st_size > 20000


@needs_weights
def test_scores_of_real_draws_are_kept_scaled_and_replayed(ttsr: Ttsr, tmp_path: Path) -> None:
    clips, out = tmp_path / "clips", tmp_path / "out"
    for number, kind in enumerate(("speech", "music", "music")):
        (clips / kind).mkdir(parents=True, exist_ok=True)
        save(clips / kind / f"{kind}_{number}.flac", voice(2.6, seed=number))
    arguments = ("--out", out, "--limit", 1, "--cutoff", 8000, "--system", "lr", "--scaling", "--judged", 4)
    done = ttsr("evaluate", clips, *arguments)
    assert done.exit_code == 0, done.output
    assert "rewards.jsonl: 2 windows, 2 of them drawn now" in done.output
    lines = [json.loads(line) for line in (out / "rewards.jsonl").read_text().splitlines()]
    seeds = {candidate["key"]["seed"] for line in lines for candidate in line["candidates"]}
    assert len(seeds) == 2, "noises that all clips share would make clips alike"
    for line in lines:
        assert len(line["candidates"]) == 4
        for candidate in line["candidates"]:
            assert set(candidate["scores"]) == {"critic", "consensus", "lsd"} == set(candidate["segments"])
            assert [preview["step"] for preview in candidate["previews"]] == [1, 2, 3]
            assert np.mean(candidate["segments"]["lsd"]) == pytest.approx(candidate["scores"]["lsd"], abs=0.1)
    assert {path.name for path in out.glob("scaling.*")} == {"scaling.md", "scaling.csv", "scaling.png"}
    file = out / "rewards.jsonl"
    before = file.read_bytes()
    assert "2 windows, 0 of them drawn now" in ttsr("evaluate", clips, *arguments).output
    assert file.read_bytes() == before
    file.write_bytes(before[:-30])
    assert "2 windows, 1 of them drawn now" in ttsr("evaluate", clips, *arguments).output
    assert file.read_bytes() == before, "the same draws again"
    policies = ("oracle: verifier=lsd", "critic: verifier=critic", "h: n=4 search=halving verifier=critic")
    said = ttsr("replay", file, "--json", *(x for policy in policies for x in ("--policy", policy)))
    rows = {(one["kind"], one["policy"]): one for one in json.loads(said.output)["policies"]}
    assert rows["music", "oracle"]["closed"]["mean"] == pytest.approx(1)
    assert rows["all kinds", "h"]["nfe"]["mean"] == 4 * 1 + 2 * 1 + 1 * 2
    section = (out / "judges.md").read_text().split("## music, cutoff 8000 Hz (1 clips, best of 4)")[1]
    told = next(line.split("|")[2] for line in section.splitlines() if line.startswith("| critic |"))
    assert rows["music", "critic"]["closed"]["mean"] == pytest.approx(float(told), abs=0.001), "as --judge has it"

"""`ttsr bench` renders for real and says what that took."""

import json

from click.testing import CliRunner

from ttsr_studio.batch.bench import RATE, programme
from ttsr_studio.cli.main import main


def test_it_says_what_a_render_takes() -> None:
    given = ["bench", "--seconds", "1.5", "--candidates", "2", "--device", "cpu", "--json"]
    result = CliRunner().invoke(main, given, catch_exceptions=False)
    cost = json.loads(result.stdout)
    assert (cost["device"], cost["candidates"], cost["audio_s"], cost["card_mb"]) == ("cpu", 2, 1.5, None)
    assert cost["wall_s"] > 0
    assert cost["times_real_time"] == cost["audio_s"] / cost["wall_s"]
    assert {"network", "condition", "decode", "verify"} <= set(cost["stages"])
    assert sum(cost["stages"].values()) <= cost["wall_s"] * 1.05


def test_its_programme_is_the_same_every_time() -> None:
    made = programme(1.0)
    assert made.shape == (2, RATE)
    assert (made == programme(1.0)).all()
    assert 0.05 < abs(made).max() < 1.0


def test_people_read_it() -> None:
    result = CliRunner().invoke(main, ["bench", "--seconds", "1", "--candidates", "1", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    for word in ("device", "times real time", "candidates", "memory", "network"):
        assert word in result.stdout

"""The simulation of a day of a studio's files: what docs/studio/scale.md claims."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from farm_simulation import Day, Outcome, Studio, day, measure


def busy(studio: Studio, every: int = 4) -> tuple[float, Outcome]:
    out = Day(studio, day()[::every]).run()
    return out.shares(studio)["cards"], out


def test_eight_workers_are_nine_tenths_busy_and_nothing_is_lost() -> None:
    sources = day()
    for studio in (Studio(8), Studio(8, queue=False, per=10), Studio(8, spread=3600.0)):
        share, out = busy(studio, every=1)
        assert share >= 0.9
        assert out.rendering == pytest.approx(sum(source.work for source in sources) / studio.speed)


def test_what_is_in_the_way_shows() -> None:
    """A start for every short file, the longest film, a thin share, a slow disk under the queue."""
    assert busy(Studio(8, queue=False))[0] < 0.85
    whole, film = busy(Studio(64))[1], busy(Studio(64, spread=3600.0))[1]
    assert film.makespan < 0.7 * whole.makespan
    many = Studio(64, spread=3600.0, join=0.0)
    assert busy(replace(many, share=2e7))[1].makespan > 2 * busy(many)[1].makespan
    assert busy(replace(many, commit=0.2))[1].makespan > 2 * busy(many)[1].makespan


def test_the_queue_itself_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 < measure(20) < 1
    assert "claims a second" in capsys.readouterr().out

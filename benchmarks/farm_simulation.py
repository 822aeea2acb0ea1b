"""A day of a studio's files on 1 to 256 cards: how long, how busy, how many bytes, and what is in the way.

python benchmarks/farm_simulation.py                        # all tables
python benchmarks/farm_simulation.py --measure              # first: what the queue of `ttsr watch` takes here

A discrete simulation (simpy), nothing is rendered. Each worker takes a job from the queue, reads the source over the
share, renders, writes the result over the share, and says so; meanwhile it renews its lease every two seconds. The
share serves one transfer after the other, the database one commit after the other, the driver one join of a long film
after the other. All lengths are drawn from a seed; figures that are measured say so, the others are assumptions.
"""

import argparse
import tempfile
import time
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import simpy

from ttsr_studio.farm.jobs_split import spread_evenly
from ttsr_studio.watch.queue.jobs import Offer, Queue
from ttsr_studio.watch.queue.store import Signature

HOUR = 3600.0
RATE, BYTES = 48000, 3
RENEW_SECONDS = 2.0
"""Of a job's lease, as `ttsr watch` has it."""


@dataclass(frozen=True)
class Studio:
    """What is rendered, and on what.

    Attributes:
        workers: cards, one worker each.
        speed: seconds of one channel that a card renders in a second (assumed; `ttsr bench` measures one).
        start: seconds before a process renders; once a worker in the service, once a job in bundles (measured: 5 s).
        commit: seconds of one commit of the queue (measured by --measure: 1 ms on an idle machine, 3 ms on a busy one).
        share: bytes a second of the share.
        join: seconds of the driver for a second of a channel of a film that several cards search (measured on
            simulated nodes of a busy machine: 2.6 s for 24 s of stereo). Every such film has a driver of its own.
        per: files of a job of a bundle, spread as `ttsr jobs split` spreads them.
        spread: seconds from which on a file is spread over the cards by groups of windows; 0 for none.
        queue: whether sqlite hands the jobs out; else a render manager does, which is not modelled.
    """

    workers: int
    speed: float = 10.0
    start: float = 5.0
    commit: float = 0.003
    share: float = 1.1e9
    join: float = 0.054
    per: int = 1
    spread: float = 0.0
    queue: bool = True


@dataclass(frozen=True)
class Source:
    """A file: seconds, and channels."""

    seconds: float
    channels: int

    @property
    def work(self) -> float:
        """Seconds of all channels."""
        return self.seconds * self.channels

    @property
    def size(self) -> float:
        """Bytes."""
        return self.work * RATE * BYTES


def day(seed: int = 0) -> list[Source]:
    """A day: 2000 takes of speech, 400 stems of music, 60 reels of 20 minutes, one film of 100 minutes in 5.1."""
    rng = np.random.default_rng(seed)
    takes = [Source(float(s), 1) for s in np.clip(rng.lognormal(np.log(20), 0.8, 2000), 1, 600)]
    stems = [Source(float(s), 2) for s in np.clip(rng.lognormal(np.log(200), 0.4, 400), 30, 1200)]
    reels = [Source(float(s), 2) for s in rng.normal(1200, 60, 60)]
    return [*takes, *stems, *reels, Source(6000.0, 6)]


@dataclass(frozen=True)
class Unit:
    """What a worker does at a time: a file, or a part of a film that a driver joins."""

    source: Source
    driver: simpy.Resource | None = None


@dataclass
class Outcome:
    """What came of a day: seconds to the last file, of rendering, of the database and the driver; bytes moved."""

    makespan: float = 0.0
    rendering: float = 0.0
    database: float = 0.0
    driver: float = 0.0
    moved: float = 0.0

    def shares(self, studio: Studio) -> dict[str, float]:
        """How busy each part was, 0 to 1; of drivers, one for each film, how many were at work at a time."""
        return {
            "cards": self.rendering / (studio.workers * self.makespan),
            "share": self.moved / studio.share / self.makespan,
            "sqlite": self.database / self.makespan,
            "driver": self.driver / self.makespan,
        }


class Day:
    """One day on one farm."""

    def __init__(self, studio: Studio, sources: list[Source]) -> None:
        self.studio, self.out = studio, Outcome()
        self.world = simpy.Environment()
        self.share, self.sqlite = simpy.Resource(self.world), simpy.Resource(self.world)
        self.jobs = deque(self.batches(sources))
        self.joins = list[simpy.Process]()

    def batches(self, sources: list[Source]) -> list[list[Unit]]:
        """What is handed out at a time, the longest first."""
        if self.studio.per > 1:
            work = {number: source.work for number, source in enumerate(sources)}
            groups = spread_evenly([*work], work, self.studio.per)
            return [[Unit(sources[number]) for number in group] for group in groups]
        return [[unit] for source in sorted(sources, key=lambda source: -source.work) for unit in self.units(source)]

    def units(self, source: Source) -> list[Unit]:
        """A file as it is handed out: whole, or a film in parts of a minute that its driver joins."""
        parts = int(source.seconds // 60)
        if not self.studio.spread or source.seconds < self.studio.spread:
            return [Unit(source)]
        driver = simpy.Resource(self.world)
        return [Unit(replace(source, seconds=source.seconds / parts), driver)] * parts

    def run(self) -> Outcome:
        """Do the day."""
        workers = [self.world.process(self.work()) for _ in range(self.studio.workers)]
        self.world.run(simpy.events.AllOf(self.world, workers))
        self.world.run(simpy.events.AllOf(self.world, self.joins))
        self.out.makespan = self.world.now
        return self.out

    def work(self) -> Generator[Any, Any, None]:
        """One worker: jobs until none is left."""
        studio = self.studio
        if studio.queue:
            yield self.world.timeout(studio.start)
        while self.jobs:
            batch = self.jobs.popleft()
            if not studio.queue:
                yield self.world.timeout(studio.start)
            for unit in batch:
                yield from self.one(unit.source, unit.driver)

    def one(self, source: Source, driver: simpy.Resource | None) -> Generator[Any, Any, None]:
        """One file, or a part of one: claimed, read (twice: its checksum first), rendered, written, read back, done."""
        studio, render = self.studio, source.work / self.studio.speed
        if studio.queue:
            yield from self.use(self.sqlite, 2 * studio.commit, "database")
        yield from self.transfer(source.size * (1 if driver or not studio.queue else 2))
        self.out.rendering += render
        if studio.queue:
            self.world.process(self.renew(int(render / RENEW_SECONDS)))
        yield self.world.timeout(render)
        yield from self.transfer(source.size * 2)
        if driver:
            self.joins.append(self.world.process(self.use(driver, studio.join * source.work, "driver")))
        if studio.queue:
            yield from self.use(self.sqlite, 2 * studio.commit, "database")

    def renew(self, times: int) -> Generator[Any, Any, None]:
        for _ in range(times):
            yield self.world.timeout(RENEW_SECONDS)
            yield from self.use(self.sqlite, self.studio.commit, "database")

    def transfer(self, size: float) -> Generator[Any, Any, None]:
        """Bytes over the share, in pieces of 64 MB, so that a film does not keep takes waiting."""
        self.out.moved += size
        while size > 0:
            piece = min(size, 64e6)
            yield from self.use(self.share, piece / self.studio.share, None)
            size -= piece

    def use(self, what: simpy.Resource, seconds: float, counted: str | None) -> Generator[Any, Any, None]:
        """Have something that serves one at a time."""
        with what.request() as turn:
            yield turn
            yield self.world.timeout(seconds)
        if counted:
            setattr(self.out, counted, getattr(self.out, counted) + seconds)


def table(title: str, sources: list[Source], studios: list[Studio]) -> None:
    """Print one table, Markdown."""
    print(f"\n**{title}**\n")
    print("| cards | last file after | cards busy | GB moved | share busy | sqlite busy | drivers at work |")
    print("|---|---|---|---|---|---|---|")
    for studio in studios:
        out = Day(studio, sources).run()
        busy = out.shares(studio)
        print(
            f"| {studio.workers} | {out.makespan / HOUR:.2f} h | {busy['cards']:.2f} | {out.moved / 1e9:.0f} | "
            f"{busy['share']:.2f} | {busy['sqlite']:.2f} | {busy['driver']:.2f} |"
        )


def measure(files: int) -> float:
    """Seconds of one commit of the real queue: offer, claim, identify, intend, finish and renewals of so many files."""
    with tempfile.TemporaryDirectory() as folder:
        queue = Queue(Path(folder) / "queue.sqlite")
        began = time.perf_counter()
        queue.offer([Offer(f"{number}.wav", Signature(1, 1, number, "")) for number in range(files)])
        offered = time.perf_counter() - began
        taken = dict.fromkeys(("claim", "identify", "renew", "intend", "finish"), 0.0)
        for number in range(files):
            marks = [time.perf_counter()]
            claim = queue.claim("a worker")
            assert claim
            marks.append(time.perf_counter())
            queue.identify(claim, f"{number:064x}", "of options", f"{number}.out", f"{number}.json")
            marks.append(time.perf_counter())
            queue.renew(claim, '{"stage": "searching"}')
            marks.append(time.perf_counter())
            queue.intend(claim, f"{number:064x}")
            marks.append(time.perf_counter())
            queue.finish(claim, lambda: None)
            marks.append(time.perf_counter())
            for name, one, other in zip(taken, marks, marks[1:], strict=False):
                taken[name] += other - one
        queue.close()
    each = {name: 1000 * seconds / files for name, seconds in taken.items()}
    print(
        f"{files} files: offered in {offered:.2f} s; " + ", ".join(f"{name} {ms:.2f} ms" for name, ms in each.items())
    )
    print(f"claims a second: {1000 / each['claim']:.0f}; whole jobs a second: {1000 / sum(each.values()):.0f}")
    return sum(each.values()) / len(each) / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", action="store_true", help="measure the queue here, and take its figure")
    parser.add_argument("--files", type=int, default=500, help="of --measure")
    parser.add_argument("--speed", type=float, default=10.0, help="seconds of a channel a second, of one card")
    parser.add_argument("--cards", type=int, nargs="*", default=[1, 2, 4, 8, 16, 32, 64, 128, 256])
    given = parser.parse_args()
    commit = measure(given.files) if given.measure else Studio(1).commit
    sources = day()
    hours = sum(source.work for source in sources) / HOUR
    print(
        f"{len(sources)} files, {hours:.0f} hours of one channel, {sum(s.size for s in sources) / 1e9:.0f} GB; ", end=""
    )
    print(f"a card renders {given.speed:g} s a second; a commit takes {1000 * commit:.1f} ms")
    of = [Studio(workers, given.speed, commit=commit) for workers in given.cards]
    table("A bundle, one file a job", sources, [replace(each, queue=False) for each in of])
    table("A bundle, --per 10", sources, [replace(each, queue=False, per=10) for each in of])
    table("The service, whole files", sources, of)
    spread = [replace(each, spread=HOUR) for each in of]
    table("The service, and the film spread by groups of windows", sources, spread)
    many = [each for each in spread if each.workers >= 32]
    table("The same, joined in a quarter of the time", sources, [replace(each, join=each.join / 4) for each in many])
    ten = [source for seed in range(10) for source in day(seed)]
    table("Ten such days at once", ten, many)
    table("Ten days, a share of 1 Gb/s", ten, [replace(each, share=1.1e8) for each in many])
    table("Ten days, a commit of 20 ms: a disk that turns", ten, [replace(each, commit=0.02) for each in many])


if __name__ == "__main__":
    main()

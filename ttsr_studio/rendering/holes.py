"""Codec holes of a file: found, filled with what the engine generates there, and put in beneath the render.

The engine generates above an edge. So a second search, of one candidate, is run with the edge lowered to the lowest
emptied cell of every half second and channel, and of its render only the emptied cells are taken.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.audio.codec_holes import BANDS, MARGIN, STRETCH, FoundHoles, HoleFinder, band_hz, fill
from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.rendering.inference.progress import Event
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.rendering.inference.windows import SearchInput, SearchRun, search_windows
from ttsr_studio.rendering.request import RunningRender
from ttsr_studio.rendering.source import Material
from ttsr_studio.report.file_records import HoleBandRecord, HolesRecord

_ROWS_HZ = (2000, 3000, 4000, 6000, 8000, 12000, 16000, 24000)


def with_holes_filled(run: RunningRender, material: Material) -> tuple[Material, HolesRecord | None]:
    """The material with what fills its holes put aside, to come back beneath the render; and what the report says.

    Nothing is done, and None is told, unless it was asked for.
    """
    if not run.session.options.fill_holes:
        return material, None
    search, rate = material.search, run.session.engine.sample_rate
    found = HoleFinder(search.lr, search.bandwidth, rate).find()
    if not found.cells or not search.level:
        return material, record(found, np.zeros(BANDS), rate)
    with run.stages.timed("holes"):
        added, power = filled(run, search, found)
    aside = material.programme.aside
    if aside:
        pairs = zip(added.blocks(), aside.blocks(), strict=True)
        both = run.buffer(search.lr.channels)
        for mine, other in pairs:
            both.append(mine + other)
        added = both
    programme = replace(material.programme, aside=added)
    return replace(material, programme=programme), record(found, power, rate)


def filled(run: RunningRender, search: SearchInput, found: FoundHoles) -> tuple[Scratch, NDArray[np.float64]]:
    """(what is added, at the engine's rate; its energy by band, [64])."""
    session, rate = one_candidate(run.session), run.session.engine.sample_rate
    lowered = replace(search, bandwidth=found.edges)
    render = run.buffer(search.lr.channels)

    def alive(event: Event) -> None:
        run.progress(Event("searching", 0.0, event.total))  # the search that counts comes after this one

    for window in search_windows(session, lowered, SearchRun(run.stages, alive)):
        render.append(window.finished[0])
    added, power = run.buffer(search.lr.channels), np.zeros(BANDS)
    finder = HoleFinder(search.lr, search.bandwidth, rate)
    for start in finder.starts():
        first, last = finder.reach(start)
        block = fill(render.read(first, last) - search.lr.read(first, last), finder.cells(start)[0])
        block = block[:, MARGIN : MARGIN + min(STRETCH, search.lr.frames - start)]
        added.append(block)
        bins = (np.abs(np.fft.rfft(block)) ** 2).sum(axis=0) * 2 / block.shape[1]
        bands = np.minimum(np.fft.rfftfreq(block.shape[1], 1 / rate) // band_hz(rate), BANDS - 1).astype(int)
        power += np.bincount(bands, bins, BANDS)
    return added, power / (search.lr.frames * search.lr.channels)


def one_candidate(session: Session) -> Session:
    """A session that makes one candidate a window, with the same engine and verifiers."""
    options = replace(
        session.options, search="random", candidates=1, budget=None, settings=(), neighbours=None, cosine=None,
        stride=None, pivot=None, choice="window", finalists=None, decode_top=None, look=None, keep_top=1, diverse=False,
        take=1,
        control=False, targets=(),
    )  # fmt: skip
    return session.with_options(options)


def record(found: FoundHoles, power: NDArray[np.float64], rate: int) -> HolesRecord:
    """What the report says."""
    centres = (np.arange(BANDS) + 0.5) * band_hz(rate)
    rows = []
    for low, high in pairwise(_ROWS_HZ):
        here = (centres >= low) & (centres < high)
        cells, possible = int(found.by_band[here].sum()), int(found.possible[here].sum())
        if cells:
            level = 10 * np.log10(max(float(power[here].sum()), 1e-20))
            rows.append(HoleBandRecord(float(low), float(high), cells, cells / possible, level))
    whole = int(found.possible.sum())
    return HolesRecord(found.cells, found.cells / whole if whole else 0.0, rows)


def holes_in_words(holes: HolesRecord | None) -> list[str]:
    """What a person reads."""
    if holes is None:
        return []
    if not holes.cells:
        return ["no codec holes below the band's edge; nothing was filled"]
    most = max(holes.bands, key=lambda row: row.share)
    return [
        f"codec holes filled: {holes.cells} cells, {100 * holes.share:.2g} % of those below the edge, most from "
        f"{most.low_hz / 1000:g} to {most.high_hz / 1000:g} kHz ({100 * most.share:.2g} %)"
    ]

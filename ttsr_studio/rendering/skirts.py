"""Skirts of gentle filters: whether they are looked for, what is told of them."""

from collections.abc import Iterable

from ttsr_studio.audio.bandwidth.detector import Bandwidth
from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.audio.skirt.curve import SkirtMap
from ttsr_studio.audio.skirt.find import RATE_SHARE, find_skirts
from ttsr_studio.engines.builtin.expectation import Expectation
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.report.file_records import SkirtRecord


def skirts_of(session: Session, source: Scratch, band: Bandwidth, rate: int) -> SkirtMap:
    """Skirts of an input, at the engine's rate, as they are to be lifted; none where that is not asked for, what is
    above is removed anyway, or nothing says that it was limited.

    Args:
        rate: of the file, Hz.
    """
    options, engine = session.options, session.engine
    wanted = options.lift_skirt and not options.keep_skirt and options.remove != "above"
    if not wanted or engine.sample_rate != Expectation.rate:
        return SkirtMap.none()
    found = find_skirts(source, engine.sample_rate, band, RATE_SHARE * rate / 2, Expectation(engine))
    return found.up_to(options.cutoffs) if options.cutoffs and found else found


def skirt_records(skirts: SkirtMap) -> list[SkirtRecord]:
    """As the report has them: channels of one curve together."""
    rows: dict[tuple[float, object], SkirtRecord] = {}
    for start, channel, skirt in skirts.every():
        known = rows.get((start, skirt))
        channels = (*known.channels, channel + 1) if known else (channel + 1,)
        rows[start, skirt] = SkirtRecord(start, channels, skirt.hertz, skirt.lift_db, skirt.evidence)
    return list(rows.values())


def skirts_in_words(skirts: Iterable[SkirtRecord], louder_lu: float | None) -> list[str]:
    """What a person reads of skirts that were lifted, and of how much louder the file is for it."""
    louder = "" if louder_lu is None else f", {louder_lu:+.1f} LU"
    found = sorted(skirts, key=lambda skirt: -max(skirt.lift_db))[:1]
    return [
        f"a filter's skirt lifted from {skirt.hertz[0] / 1000:.1f} to {skirt.hertz[-1] / 1000:.1f} kHz by up to "
        f"{max(skirt.lift_db):.0f} dB{louder}"
        for skirt in found
    ]

"""The media of a session on their way to renders: whole files, or the stretches that are played of them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ttsr_studio.audio.decode import probe
from ttsr_studio.audio.formats import VIDEO_SUFFIXES, kept_suffix
from ttsr_studio.batch.outcome import FileOutcome
from ttsr_studio.batch.plan import Job
from ttsr_studio.errors import OutputError, TtsrError, on_one_line, shown
from ttsr_studio.options import RenderOptions
from ttsr_studio.report.numbers import time_words
from ttsr_studio.sessions.media import Medium, Replacement, SessionFile, Target, of_tracks
from ttsr_studio.sessions.ranges import PlayedStretch, cut_out, join_pieces, played_stretches
from ttsr_studio.storage.atomic import fit_name


@dataclass
class SessionPart:
    """A medium on its way.

    Attributes:
        source: the file. target: its render. jobs: what is rendered for that, one of the whole, or one a stretch.
        stretches: of the jobs, in samples of the source; empty for the whole.
        depth: of the render, where it is joined of stretches.
        rendered: jobs that are done. done: whether the render is there.
        reason: why it is not, or was not. failed: whether that is a failure.
    """

    medium: Medium
    source: Path = Path()
    target: Path = Path()
    jobs: list[Job] = field(default_factory=list)
    stretches: list[PlayedStretch] = field(default_factory=list)
    depth: str = "source"
    rendered: list[Job] = field(default_factory=list)
    done: bool = False
    reason: str = ""
    failed: bool = False

    def options_of(self, options: RenderOptions) -> RenderOptions:
        """Options of the jobs: stretches keep their level, and are joined before they are brought to a depth."""
        if not self.stretches:
            return options
        return replace(options, loudness="off", depth="32f", keep_top=1, diverse=False, page=False, control=False)

    def see(self, outcome: FileOutcome) -> None:
        """Note what became of a job."""
        if outcome.rendered is not None:
            self.rendered.append(outcome.job)
            return
        self.failed = self.failed or outcome.status == "failed"
        self.reason = on_one_line(outcome.reason)

    def replacement(self, overwrite: bool, note: Callable[[str], None]) -> Replacement | None:
        """The render, as the session wants to know it; None where there is none.

        Raises OutputError where it is not as long as its source, and what joining stretches raises.
        """
        if not self.done and (self.failed or not self.rendered):
            return None
        if self.stretches and not self.done:
            found = [
                (part, job.target) for part, job in zip(self.stretches, self.jobs, strict=True) if job in self.rendered
            ]
            gain = join_pieces(probe(self.source), found, self.target, self.depth, overwrite)
            if gain:
                note(f"note: {shown(self.target)}: {gain:.1f} dB, so that nothing clips")
            for job in self.rendered:
                job.target.unlink(missing_ok=True)  # it is part of the whole now
        self.done = True
        source, render = probe(self.source), probe(self.target)
        lengths = render.frames / render.rate, source.frames / source.rate
        if abs(lengths[0] - lengths[1]) > 2 / min(source.rate, render.rate):
            words = f"{time_words(lengths[0])} long, and its source {time_words(lengths[1])}"
            raise OutputError(f"{shown(self.target)}: {words}; the session keeps the source")
        rates = render.rate, render.channels, lengths[0], source.rate, lengths[1]
        return Replacement(self.medium, self.target, *rates)


def plan_parts(
    session: SessionFile, target: Target, scratch: Path, in_stretches: RenderOptions | None
) -> list[SessionPart]:
    """What is to become of every medium of the tracks that are meant.

    Args:
        scratch: a folder for what is taken out of archives and files.
        in_stretches: the options, where only what is played is rendered.
    """
    parts, taken = list[SessionPart](), set[str]()
    for number, medium in enumerate(session.media()):
        if not of_tracks(medium, target.tracks):
            continue
        if medium.trouble or medium.aside:
            reason = f"{on_one_line(medium.reference)}: {medium.trouble or medium.aside}"
            parts.append(SessionPart(medium, reason=reason, failed=bool(medium.trouble)))
            continue
        try:
            source = session.fetch(medium, scratch / str(number))
            part = SessionPart(medium, source, render_name(source, target.folder, taken))
            if in_stretches and source.suffix.lower() not in VIDEO_SUFFIXES:
                cut_up(part, target, scratch / f"{number}-parts", in_stretches)
        except TtsrError as error:
            parts.append(SessionPart(medium, reason=on_one_line(str(error)), failed=True))
            continue
        part.jobs = part.jobs or [Job(source, part.target, None)]
        parts.append(part)
    return parts


def cut_up(part: SessionPart, target: Target, scratch: Path, options: RenderOptions) -> None:
    """Let a part have a job for every stretch that is played, unless that is nearly all."""
    from ttsr_studio.rendering.source import rate_of  # with what a render needs

    info = probe(part.source)
    found = played_stretches(part.medium, target.tracks, info, rate_of(info.rate, options))
    if len(found) == 1 and found[0].stop - found[0].start == info.frames:
        return
    scratch.mkdir(parents=True, exist_ok=True)
    part.stretches, part.depth = found, options.depth
    for each in found:
        span = f"{each.start / info.rate:.2f}-{each.stop / info.rate:.2f} s"
        source = scratch / fit_name(f"{part.source.stem} {span}.wav")
        cut_out(info, each, source)
        name = fit_name(f"{part.target.stem} {span}.wav")
        part.jobs.append(Job(source, part.target.with_name(name), None))


def render_name(source: Path, folder: Path, taken: set[str]) -> Path:
    """Where a render goes, under a name that no other has."""
    ending, number = kept_suffix(source.suffix), 1
    while (name := fit_name(f"{source.stem}_ttsr{f'_{number}' if number > 1 else ''}{ending}")).casefold() in taken:
        number += 1
    taken.add(name.casefold())
    return folder / name

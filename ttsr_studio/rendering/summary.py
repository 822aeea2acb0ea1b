"""From a finished render to its report files and to one line for the user."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch

from ttsr_studio import __version__
from ttsr_studio.audio.bandwidth.edge import FULL_BAND_HZ
from ttsr_studio.audio.bandwidth.origin import band_origin
from ttsr_studio.audio.crossover import transition_hz
from ttsr_studio.audio.effects import load_effects
from ttsr_studio.audio.loudness import decibels
from ttsr_studio.errors import shown
from ttsr_studio.options import RenderOptions
from ttsr_studio.options.chain import Chain
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.rendering.inference.timing import Stages
from ttsr_studio.rendering.notices import notices_of
from ttsr_studio.rendering.output import Outputs, add_page
from ttsr_studio.rendering.recorder import Recorder
from ttsr_studio.rendering.request import RunningRender
from ttsr_studio.rendering.rerank import Reranking
from ttsr_studio.rendering.skirts import skirt_records
from ttsr_studio.rendering.source import Material
from ttsr_studio.report.drawn_maps import DrawnMaps, Maps
from ttsr_studio.report.earlier import clear_earlier
from ttsr_studio.report.file_records import (
    BandRecord,
    ChainRecord,
    EffectRecord,
    HolesRecord,
    InputInfo,
)
from ttsr_studio.report.numbers import time_words
from ttsr_studio.report.paths import is_report, report_names, report_paths
from ttsr_studio.report.record import Notice, Role
from ttsr_studio.report.schema import AnnotationsRecord, PluginInfo, Report, Timing, ToolInfo, VerifierInfo
from ttsr_studio.report.search_records import Gains, NBestRecord, ScoreRecord, SearchRecord
from ttsr_studio.report.write import write_arrays, write_report
from ttsr_studio.verifiers.protocol import Annotations, Verifier


@dataclass(frozen=True)
class Rendered:
    """A finished render.

    Attributes:
        report: everything about it.
        target: the file that was written.
        files: where the report is, JSON and PNG; None where none was wanted.
        page: where its audition page is, or None.
    """

    report: Report
    target: Path
    files: tuple[Path, Path] | None = None
    page: Path | None = None

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The figures that `--json` prints."""
        told = {"notices": [asdict(notice) for notice in self.notices]}
        return summary(self.report, self.target, self.files, self.page) | told

    @property
    def line(self) -> str:
        """What a person reads."""
        return in_words(self.report, self.target, self.notices)

    @property
    def notices(self) -> list[Notice]:
        """What somebody has to know of it, and of where its report is."""
        if not self.files or self.files[0] == report_names(self.target)[0]:
            return [*self.report.notices]
        name = shown(Path(self.files[0].name))
        usual = report_names(self.target)[0]
        taken = "that name's own is of another output"
        if not is_report(usual):
            taken = f"{shown(Path(usual.name))} is a file of somebody else's"
        elsewhere = f"its report is {name}, as {taken}"
        return [*self.report.notices, Notice("report-elsewhere", elsewhere)]


def build_report(
    run: RunningRender,
    material: Material,
    reranking: Reranking,
    recorder: Recorder,
    outputs: Outputs,
    holes: HolesRecord | None = None,
) -> Report:
    """Everything about a render whose audio is written."""
    session, search = run.session, material.search
    windows, scores = recorder.settle(reranking)
    report = Report(
        tool=tool_info(session),
        input=input_info(material),
        output=outputs.chosen,
        verifiers=verifier_infos(session),
        windows=windows,
        timing=timing(run.stages, search.lr.frames / session.engine.sample_rate, run.watch.seconds()),
        uncertainty=recorder.uncertainty.summary(session.options.uncertain_above),
        search_range=recorder.search_range(),
        scores=scores,
        gains=gains(scores),
        n_best=n_best_records(reranking),
        annotations=annotations_record(search.annotations, reranking.notes),
        left_out=dict(session.panel.left_out),
        search=search_record(session, recorder.cuts()),
        best=outputs.best,
        random_baseline=outputs.random_baseline,
        chain=chain_record(session.options.chain),
        amount=outputs.mix.record(search.lr.frames / session.engine.sample_rate),
        codec_holes=holes,
    )
    return replace(report, notices=notices_of(report))


def write_reports(run: RunningRender, report: Report, recorder: Recorder, outputs: Outputs) -> Rendered:
    """Write the report's files and the page where they are wanted; what belonged to a replaced render goes."""
    request = run.request
    files = write_report_files(request.target, report, recorder) if request.report else None
    if not files:
        keep_mark(request.target, report, outputs.replaced)
    page = add_page(run, report, recorder) if files and run.session.options.page else None
    clear_earlier(request.target, outputs.replaced, report, page, [request.source, *request.inputs])
    return Rendered(report, request.target, files, page)


def keep_mark(target: Path, report: Report, earlier: Report | None) -> None:
    """Where no report is wanted, keep one of a render that Ctrl-C ended, which is to be made anew, until it was."""
    data = report_paths(target)[0]
    if report.search.cut.get("interrupted"):
        write_report(data, report.to_json())
    elif earlier and earlier.search.cut.get("interrupted"):
        data.unlink(missing_ok=True)


def tool_info(session: Session) -> ToolInfo:
    """What made the render, with every option resolved."""
    resolved = replace(
        session.options,
        solver=session.solver,
        steps=session.steps,
        schedule=session.schedule,
        temperature=session.temperature,
        guidance=session.guidance.scale if session.engine.guided else None,
        precision=session.engine.precision,
        window=session.engine.window_seconds,
        look=session.preview_level,
        device=session.device,
    )
    return ToolInfo(
        name="ttsr-studio",
        version=__version__,
        engine=session.engine.name,
        weights=session.engine.weights(),
        preset=session.options.preset,
        options=resolved.to_json(),
        seed=session.options.seed,
        device=session.device,
        batch_size=session.rows,
        versions=versions(session.options),
        plugins=[PluginInfo(p.kind, p.name, p.package, p.version) for p in session.parts().values() if p],
    )


def versions(options: RenderOptions) -> dict[str, str]:
    """Versions of what the bits of a render depend on."""
    found = {"torch": torch.__version__, "numpy": np.__version__, "soxr": soxr.__version__}
    if options.chain or options.limiter:
        found["pedalboard"] = version("pedalboard")
    return found


def chain_record(chain: Chain | None) -> ChainRecord | None:
    """The effects of a chain with all of their settings."""
    if chain is None:
        return None
    rows = {
        place: [EffectRecord(each.name, each.file, each.settings) for each in load_effects(place, tables)]
        for place, tables in chain.tables().items()
    }
    return ChainRecord(**rows)


def search_record(session: Session, cut: Mapping[str, int]) -> SearchRecord:
    options = session.options
    return SearchRecord(options.search, options.search_settings(), options.choice, session.window_nfe, cut)


def verifier_infos(session: Session) -> dict[str, VerifierInfo]:
    panel = session.panel
    roles: list[tuple[Verifier, Role]] = [
        *((verifier, "search") for verifier in panel.search),
        *((verifier, "held-out") for verifier in panel.held_out),
    ]
    previewed = f"-RMS of {session.preview_level}"
    return {
        v.name: VerifierInfo(
            previewed if session.preview_level and v.name == "consensus" else v.unit, v.weights, v.licence, role
        )
        for v, role in roles
    }


def gains(scores: Mapping[str, ScoreRecord]) -> Gains:
    """Mean gains by role; a verifier of several scales counts once."""
    by_role: dict[str, dict[str, list[float]]] = {"search": {}, "held-out": {}}
    for name, record in scores.items():
        if record.gain_sd is not None:
            by_role[record.role].setdefault(name.split("/")[0], []).append(record.gain_sd)
    searched, held_out = (
        float(np.mean([np.mean(scales) for scales in by_role[role].values()])) if by_role[role] else None
        for role in ("search", "held-out")
    )
    sound = searched is not None and held_out is not None and searched > 0
    return Gains(searched, held_out, held_out / searched if sound and held_out is not None and searched else None)


def n_best_records(reranking: Reranking) -> list[NBestRecord]:
    """The n best renders as the report has them; none when no verifier scored clips."""
    return [
        NBestRecord({name: values[i] for name, values in reranking.scores.items()}, combined, i == reranking.chosen)
        for i, combined in enumerate(reranking.combined)
    ]


def annotations_record(annotations: Annotations, notes: Mapping[str, str]) -> AnnotationsRecord:
    return AnnotationsRecord(
        annotations.transcript, annotations.caption, annotations.captions, len(annotations.speakers), dict(notes)
    )


def timing(stages: Stages, audio_s: float, wall_s: float) -> Timing:
    """What it took; the time in which there was no worker of a farm is told, and is no part of the render's."""
    network = stages.network
    wall_s = max(0.0, wall_s - stages.seconds.get("farm", 0.0))
    speed = audio_s / wall_s if wall_s > 0 else None
    return Timing(network.nfe, audio_s, wall_s, {"network": network.seconds, **stages.seconds}, speed)


def input_info(material: Material) -> InputInfo:
    info, loudness, cutoff = material.info, material.loudness, material.search.cutoff_hz
    return InputInfo(
        name=info.path.name,
        sha256=material.sha256,
        rate=info.rate,
        depth=info.subtype,
        channels=info.channels,
        frames=info.frames,
        lufs=loudness.lufs,
        true_peak_db=decibels(loudness.true_peak),
        cutoff_hz=None if material.band.silent else cutoff,
        crossover_hz=(cutoff - transition_hz(cutoff), cutoff),
        cutoff_reason=material.cutoff_reason,
        warnings=info.warnings,
        evidence_db=material.band.evidence_db,
        bandwidth=[BandRecord(start, edges) for start, edges in material.search.bandwidth.rows()],
        beyond=list(material.programme.beyond),
        codec=band_origin(material.info, material.band),
        skirts=skirt_records(material.programme.skirts),
        lifted_lu=material.programme.lifted_lu,
    )


@cache
def load_drawing() -> None:
    """Begin to load what draws reports, in a thread: it takes a second, and a search has time for that."""
    threading.Thread(target=import_module, args=("matplotlib.backends.backend_agg",), daemon=True).start()


def write_report_files(target: Path, report: Report, recorder: Recorder) -> tuple[Path, Path]:
    """Write `<stem>.ttsr.json`, `<stem>.ttsr.npz` and `<stem>.ttsr.png` beside the output; returns JSON and PNG."""
    from ttsr_studio.report.figures import draw_report  # with matplotlib, .4 s

    data, picture, arrays = report_paths(target)
    write_report(data, report.to_json())
    cells = DrawnMaps.of(Maps(recorder.before, recorder.after, recorder.added, recorder.uncertainty))
    write_arrays(arrays, recorder.uncertainty.arrays() | cells.arrays())
    draw_report(picture, report, cells)
    return data, picture


def ends_in_words(source: InputInfo) -> str:
    """Where the band ends, kHz: those of all channels that end, where they differ."""
    top = min(FULL_BAND_HZ, 0.95 * source.rate / 2)
    rows = [row.edges_hz for row in source.bandwidth]
    lowest = [min(edges) for edges in zip(*rows, strict=True)]
    ends = list(dict.fromkeys(f"{edge / 1000:.1f}" for edge in lowest if edge < top))
    if len(ends) < 2:
        return f"{(source.cutoff_hz or 0) / 1000:.1f}"
    return f"{', '.join(ends[:-1])} and {ends[-1]}"


def in_words(report: Report, target: Path, notices: Sequence[Notice]) -> str:
    """The line that tells the user what was done."""
    start, out, spent = report.input, report.output, report.timing
    loudness = "" if start.lufs is None or out.lufs is None else f", {start.lufs:.1f} -> {out.lufs:.1f} LUFS"
    counts = sorted({len(w.candidates) for w in report.windows if w.candidates})
    more = "".join(f"; note: {notice.text}" for notice in notices)
    if not counts:
        filled = report.codec_holes and report.codec_holes.cells
        return f"{shown(target)}: {'nothing to add above' if filled else 'silence, passed through'}{more}"
    windows = f"{len(report.windows)} window{'s' if len(report.windows) > 1 else ''}"
    chosen = f"{windows} x {counts[-1]} candidate{'s' if counts[-1] > 1 else ''}"
    speed = spent.times_real_time
    tracker = f" ({time_words(1 / speed)} for a second of audio)" if speed and spent.audio_s >= 1 else ""
    return (
        f"{shown(target)}: {ends_in_words(start)} kHz -> full band at {out.rate / 1000:g} kHz, {chosen}, "
        f"{spent.nfe} NFE, {time_words(spent.wall_s)}{tracker}{loudness}{more}"
    )


def summary(report: Report, target: Path, files: tuple[Path, Path] | None, page: Path | None) -> dict[str, Any]:
    """The figures that `--json` prints."""
    data = report.to_json()
    return {
        "sha256": report.output.sha256,
        "input_sha256": report.input.sha256,
        "cutoff_hz": report.input.cutoff_hz,
        "lufs_in": report.input.lufs,
        "lufs_out": report.output.lufs,
        "gain_db": report.output.gain_db,
        "lowered_db": report.output.lowered_db,
        "amount": data["amount"],
        "nfe": report.timing.nfe,
        "seconds": report.timing.wall_s,
        "stages": data["timing"]["seconds"],
        "search_range": data["search_range"],
        "uncertainty_db": data["uncertainty"]["mean_db"],
        "uncertain": data["uncertainty"]["regions"],
        "cut": dict(report.search.cut),
        "judged": {name: {"role": each.role, "chosen": each.chosen} for name, each in report.scores.items()},
        "beyond": data["input"]["beyond"],
        "codec_holes": data["codec_holes"],
        "skirts": data["input"]["skirts"],
        "warnings": [notice.text for notice in report.notices],
        "report": str(files[0]) if files else None,
        "figure": str(files[1]) if files else None,
        "page": str(page) if page else None,
        "top": [
            {"rank": best.rank, "output": str(target.with_name(best.name)), "score": best.score} for best in report.best
        ],
    }

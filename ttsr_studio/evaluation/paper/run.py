"""The rows of the paper's tables: every clip at every cutoff, by every guide and algorithm, heard by every judge.

A row of paper.jsonl holds, besides these four:

- scores: what every judge of the kind said of the output, higher is better, by column; without those that had nothing
  to go by, and null where one could not say. They hear the finished clip whole, at the level that searches hold.
- lsd, lsd_edge: log-spectral distance to the truth, over the full band and to the clip's own edge.
- search_range: equation 4, mean over windows, as in the report; null with fewer than two candidates.
- nfe, seconds: network evaluations and wall-clock seconds of the render; null for the input.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ttsr_studio import __version__
from ttsr_studio.audio.level import active_rms
from ttsr_studio.audio.resample import read_mono
from ttsr_studio.config.annotations import read_annotations
from ttsr_studio.engines.device import resolve_device
from ttsr_studio.errors import MissingError, OutputError, TtsrError
from ttsr_studio.evaluation.benchmark.dataset import RATE, Audio, Clip, read_audio, write_audio
from ttsr_studio.evaluation.benchmark.degradation import kept_hz
from ttsr_studio.evaluation.benchmark.metrics import measure
from ttsr_studio.evaluation.benchmark.runner import (
    MEASURES,
    Conditions,
    Progress,
    Results,
    Row,
    UnreadableError,
    finite,
)
from ttsr_studio.evaluation.benchmark.systems import Item, session_for, weights_of
from ttsr_studio.evaluation.paper.plan import GOES_BY, Line, Plan
from ttsr_studio.evaluation.verifier_study.score_files import LEVEL
from ttsr_studio.options import RenderOptions
from ttsr_studio.verifiers.protocol import Annotations, Context, Verifier, score_columns

PAPER = 1
"""Raised when a row's meaning changes."""


def run_paper(
    plan: Plan,
    conditions: Conditions,
    results: Results,
    *,
    tell_cutoff: bool = False,
    recompute: bool = False,
    progress: Progress = lambda line, clip: None,
    failed: Callable[[str], None] = lambda reason: None,
) -> list[Row]:
    """Measure every line on every clip of its kind at every cutoff; what failed is told to `failed`, and left out.

    Line by line, so that one session at a time is in memory; a clip that cannot be read is told once.

    Returns:
        The rows of this run, found or computed, in the order of the lines.
    """
    rows: list[Row] = []
    broken: set[Path] = set()
    for line in plan.lines:
        for cutoff in conditions.cutoffs:
            for clip in (clip for clip in plan.clips if clip.kind == line.kind):
                progress(line.name, clip.name)
                if clip.path in broken:
                    continue
                try:
                    key = row_key(plan, line, clip, cutoff, conditions, tell_cutoff)
                    if recompute or key not in results.rows:
                        results.add(compute(key, plan, line, clip, cutoff, conditions, tell_cutoff))
                    rows.append(results.rows[key])
                except OutputError:
                    raise
                except UnreadableError as error:
                    broken.add(clip.path)
                    failed(f"{clip.name}: {error}")
                except (TtsrError, OSError) as error:
                    failed(f"{line.name}, {clip.name}, {cutoff:g} Hz: {error}")
    return rows


def row_key(plan: Plan, line: Line, clip: Clip, cutoff_hz: float, conditions: Conditions, tell_cutoff: bool) -> str:
    """sha256 of all that a row depends on. Raises UnreadableError for a clip or a recording that cannot be read."""
    try:
        files = [clip.digest(), None if clip.speaker is None else replace(clip, path=clip.speaker).digest()]
    except OSError as error:
        raise UnreadableError(f"{error.filename}: {error.strerror}") from error
    options = line.options
    depends: dict[str, Any] = {
        "paper": PAPER,
        "measures": MEASURES,
        "version": __version__,
        "line": line.name,
        "files": files,
        "texts": [clip.transcript, clip.caption],
        "edge_hz": clip.edge_hz,
        "seconds": conditions.seconds,
        "cutoff_hz": cutoff_hz,
        "low_pass": conditions.low_pass,
        "judges": {name: plan.judges[name].weights for name in plan.hearing[line.kind]},
    }
    if options is not None:
        depends["options"] = options.to_json() | {"device": resolve_device(options.device)}
        depends["weights"] = weights_known(plan, options)
        depends["tell_cutoff"] = tell_cutoff
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


def weights_known(plan: Plan, options: RenderOptions) -> dict[str, str]:
    """sha256 of every weights file that a render uses, by name."""
    weights = dict(plan.weights[options.engine])
    for name in options.verifiers:
        weights |= plan.judges[name].weights if name in plan.judges else {}
    return weights


def compute(
    key: str, plan: Plan, line: Line, clip: Clip, cutoff_hz: float, conditions: Conditions, tell_cutoff: bool
) -> Row:
    """One row. Raises UnreadableError when the clip or the recording of its speaker cannot be read."""
    with TemporaryDirectory(prefix="ttsr-paper-") as folder:
        try:
            item = Item.make(clip, cutoff_hz, conditions.low_pass, conditions.seconds, Path(folder))
            speakers = () if clip.speaker is None else (read_mono(clip.speaker, RATE),)
        except (TtsrError, OSError) as error:
            raise UnreadableError(str(error)) from error
        audio, told = (item.lr_wide(), {}) if line.options is None else draw(plan, line.options, item, tell_cutoff)
    annotations = Annotations(clip.transcript, clip.caption, speakers=speakers, rate=RATE)
    values = measure(item.truth, audio, cutoff_hz, clip.edge_hz)
    return {
        "key": key,
        "clip": clip.name,
        "kind": clip.kind,
        "cutoff_hz": cutoff_hz,
        "low_pass": conditions.low_pass,
        "edge_hz": clip.edge_hz,
        "guide": line.guide,
        "algorithm": line.algorithm,
        "scores": scores([plan.judges[name] for name in plan.hearing[line.kind]], audio, item, annotations),
        "lsd": finite(values["lsd"]),
        "lsd_edge": finite(values["lsd_edge"]),
        **{name: told.get(name) for name in ("search_range", "nfe", "seconds")},
        "version": __version__,
    }


def draw(plan: Plan, options: RenderOptions, item: Item, tell_cutoff: bool) -> tuple[Audio, dict[str, Any]]:
    """Render an input with what is known of its clip: the output in the truth's shape, and the render's summary.

    Raises MissingError when weights are no longer those that the results are kept under.
    """
    from ttsr_studio.render.pipeline import render
    from ttsr_studio.render.request import RenderRequest

    session, clip = session_for(options), item.clip
    if weights_of(session) != weights_known(plan, options):
        raise MissingError("a weights file was changed during the evaluation; run it again")
    known = replace(
        options,
        transcript=clip.transcript,
        caption=clip.caption,
        speakers=() if clip.speaker is None else (clip.speaker,),
        cutoff=item.cutoff_hz if tell_cutoff else None,
    )
    source, target, truth = (item.folder / name for name in ("input.wav", "output.wav", "truth.wav"))
    write_audio(source, item.lr, item.lr_rate)
    if options.reference:
        write_audio(truth, item.truth, RATE)
    reference = truth if options.reference else None
    annotations = read_annotations(source, known, session.engine.sample_rate)
    request = RenderRequest(source, target, annotations, reference, report=False)
    done = render(session.with_options(known), request)
    return item.fitted(read_audio(target), clip.name), done.summary


def scores(judges: Sequence[Verifier], audio: Audio, item: Item, annotations: Annotations) -> dict[str, float | None]:
    """What judges say of finished audio by column, without those that would have to go by the input."""
    deaf = {name for name, (known, _, _) in GOES_BY.items() if not getattr(item.clip, known)}
    level = active_rms(audio, RATE)
    gain = LEVEL / level if level else 1.0
    lr, output = (torch.from_numpy(x) * gain for x in (item.lr_wide(), audio))
    context = Context(RATE, kept_hz(item.cutoff_hz, item.low_pass), lr, annotations=annotations)
    said: dict[str, float | None] = {}
    for verifier in judges:
        if verifier.name not in deaf:
            said |= {name: finite(values[0]) for name, values in score_columns(verifier, output[None], context).items()}
    return said

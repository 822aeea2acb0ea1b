"""Our engines and searches beside other systems, by one protocol: `python benchmarks/peers.py CLIPS OUT`.

Inputs are made from full-band clips as `ttsr evaluate` makes them; every system answers them on this machine, and is
measured by the same code: log-spectral distance below and above the cutoff, ViSQOL, Zimtohrli, how far tonal and onset
contrast are off, times real time, peak memory. OUT/peers.md and peers.json hold means with 95 % bootstrap intervals
over clips; OUT/results.jsonl every row. Nothing is downloaded: a peer that is not at hand is one line that says how it
comes. Peers that change the level are matched to the input, once a clip, on the band that it holds.

`--finished NAME=FOLDER` takes any other system's files: write its inputs by `ttsr evaluate CLIPS --write-lr FOLDER`.
"""

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np
import torch
from scipy.signal import butter, sosfiltfilt

from ttsr_studio.errors import TtsrError
from ttsr_studio.evaluation.benchmark.dataset import RATE, Audio, Clip, load_corpus, resample, write_float_wav
from ttsr_studio.evaluation.benchmark.degradation import Conditions, Item
from ttsr_studio.evaluation.benchmark.report import conditions_line
from ttsr_studio.evaluation.benchmark.runner import evaluate_systems
from ttsr_studio.evaluation.benchmark.system_spec import plan_specs
from ttsr_studio.evaluation.benchmark.systems import System, SystemOutput, metered, plan_systems
from ttsr_studio.evaluation.benchmark.tables import estimate_metrics
from ttsr_studio.evaluation.reporting.tables import interval, markdown_table, write_text
from ttsr_studio.evaluation.sweep import EvaluationRun, Reporter, Results, Row
from ttsr_studio.storage.checksum import sha256

Answer = Callable[[Item], Audio]
COLUMNS = ("visqol", "zimtohrli", "lsd_low", "lsd_hf", "tonal_off", "onset_off", "x_real_time", "peak_rss_mb")
RENDERS = ("one draw: candidates=1", "default: preset=general")


@dataclass(frozen=True)
class Peer:
    """Another system, loaded; `files` are the weights that its results depend on."""

    name: str
    answer: Answer
    files: tuple[Path, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def identity(self, clip: Clip, cutoff_hz: float) -> dict[str, Any]:
        return {"peer": self.name, "weights": [sha256(path) for path in self.files]}

    def make(self, item: Item) -> SystemOutput:
        with metered() as cost:
            audio = self.answer(item)
        audio = item.fitted(np.asarray(audio, np.float32), f"{self.name}, {item.clip.name}")
        return SystemOutput(at_level(audio, item), seconds=cost.seconds, peak_rss_mb=cost.peak_rss_mb)


def at_level(audio: Audio, item: Item) -> Audio:
    """Audio at the input's level on the band that the input holds."""
    low = butter(8, 0.9 * item.kept_hz, fs=RATE, output="sos")
    made, given = (float(np.square(sosfiltfilt(low, x)).mean()) for x in (audio, item.lr_wide()))
    return audio if made <= 0 or given <= 0 else np.asarray(audio * (given / made) ** 0.5, np.float32)


@contextlib.contextmanager
def stand_ins(*names: str) -> Iterator[None]:
    """Empty modules for packages that are only imported, where they are not installed."""
    absent = [name for name in names if find_spec(name.partition(".")[0]) is None]
    for name in absent:
        sys.modules[name] = ModuleType(name)
        sys.modules[name].Attention = None  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


def speechsr(checkout: Path) -> Peer:
    """SpeechSR of HierSpeech++: 16 to 48 kHz, speech; a GAN of 0.4 M parameters."""
    weights = checkout / "speechsr48k" / "G_100000.pth"
    sizes = json.loads((checkout / "speechsr48k" / "config.json").read_text())
    sys.path.insert(0, str(checkout))
    with stand_ins("torchaudio", "timm", "timm.models", "timm.models.vision_transformer"):
        network = importlib.import_module("speechsr48k.speechsr").SynthesizerTrn
    span = sizes["train"]["segment_size"] // sizes["data"]["hop_length"]
    model = network(sizes["data"]["n_mel_channels"], span, **sizes["model"])
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True)["model"])
    model.eval()

    @torch.no_grad()
    def answer(item: Item) -> Audio:
        given = torch.from_numpy(resample(item.lr_wide(), RATE, 16000))[:, None]
        made: Audio = model(given)[:, 0].numpy()
        return made

    return Peer("speechsr", answer, (weights,))


def audiosr(weights: Path) -> Peer:
    """AudioSR by its own package, on an official checkpoint, with the package's defaults."""
    pipeline = importlib.import_module("audiosr.pipeline")
    pipeline.download_checkpoint = lambda name: str(weights)  # type: ignore[attr-defined]
    model = pipeline.build_model(model_name="basic", device="cpu")

    def answer(item: Item) -> Audio:
        channels = []
        for number, channel in enumerate(item.lr_wide()):
            path = item.folder / f"audiosr {number}.wav"
            write_float_wav(path, channel[None], RATE)
            made = np.asarray(pipeline.super_resolution(model, str(path), ddim_steps=50)).reshape(-1)
            channels.append(made[: item.truth.shape[1]])
        return np.stack(channels)

    return Peer("audiosr", answer, (weights,))


def lavasr(folder: Path) -> Peer:
    """LavaSR by its own package, without its denoiser, on a folder with its files."""
    model = importlib.import_module("LavaSR.model").LavaEnhance(str(folder), "cpu")

    def answer(item: Item) -> Audio:
        channels = []
        for number, channel in enumerate(item.lr_wide()):
            path = item.folder / f"lavasr {number}.wav"
            write_float_wav(path, resample(channel[None], RATE, 16000), 16000)
            given, _ = model.load_audio(str(path), cutoff=round(item.cutoff_hz))
            channels.append(model.enhance(given, denoise=False).cpu().numpy().reshape(-1))
        return np.stack(channels)

    return Peer("lavasr", answer, tuple(path for path in sorted(folder.rglob("*")) if path.is_file()))


def hifi_gan_bwe(weights: Path) -> Peer:
    """HiFi-GAN+ by a file of its releases, which is TorchScript and needs nothing else."""
    model = torch.jit.load(str(weights), map_location="cpu").eval()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def answer(item: Item) -> Audio:
        rate = 16000 if item.cutoff_hz <= 8000 else RATE
        given = torch.from_numpy(resample(item.lr_wide(), RATE, rate))[:, None]
        made: Audio = model(given, rate)[:, 0].numpy()
        return made

    return Peer("hifi-gan-bwe", answer, (weights,))


PEERS: dict[str, tuple[Callable[[Path], Peer], str]] = {
    "speechsr": (speechsr, "clone github.com/sh-lee-prml/HierSpeechpp (MIT, weights inside), --speechsr FOLDER"),
    "audiosr": (
        audiosr,
        "install audiosr 0.0.7 in an environment of its own, get pytorch_model.bin of haoheliu/audiosr_basic (6.2 GB), "
        "--audiosr FILE; or `ttsr models fetch audiosr-basic` and --render 'audiosr: engine=audiosr-basic'",
    ),
    "lavasr": (lavasr, "clone github.com/ysharma3501/LavaSR and its weights YatharthS/LavaSR, --lavasr FOLDER"),
    "hifi-gan-bwe": (hifi_gan_bwe, "get a .pt of github.com/brentspell/hifi-gan-bwe's releases, --hifi-gan-bwe FILE"),
}


def peers(given: dict[str, Path | None]) -> Iterator[Peer]:
    """Those that are given and can be loaded; the others are told of in a line each."""
    for name, (load, how) in PEERS.items():
        path = given[name.replace("-", "_")]
        try:
            if path is not None:
                yield load(path)
        except Exception as error:  # of whatever kind: it is another's code
            why = " ".join(str(error).split())[:160]
            click.echo(f"{name}: {path} cannot be used ({type(error).__name__}: {why}); {how}", err=True)
        if path is None:
            click.echo(f"{name}: not here; {how}", err=True)


class Told(Reporter):
    def step(self, study: str, clip: str) -> None:
        click.echo(f"  {study}: {clip}", err=True)

    def failed(self, reason: str) -> None:
        super().failed(reason)
        click.echo(reason, err=True)


def write(out: Path, rows: Sequence[Row], title: str) -> None:
    """Write peers.md and peers.json: by kind and cutoff, systems down."""
    found = [one for one in estimate_metrics(rows, None, 0) if one.metric.key in COLUMNS]
    lines = ["# Peers", "", title, "", "Means over clips with 95 % bootstrap intervals."]
    for kind, cutoff in dict.fromkeys((one.kind, one.cutoff_hz) for one in found):
        part = [one for one in found if (one.kind, one.cutoff_hz) == (kind, cutoff)]
        metrics = [next(one.metric for one in part if one.metric.key == key) for key in COLUMNS]
        cells = []
        for system in dict.fromkeys(one.system for one in part):
            own = {one.metric.key: one for one in part if one.system == system}
            count = max(one.estimate.n for one in own.values())
            cells.append([system, str(count), *(interval(own[m.key].estimate, m.digits) for m in metrics)])
        lines += ["", f"## {kind}, cutoff {cutoff:g} Hz", ""]
        lines += markdown_table(["system", "n", *(metric.heading for metric in metrics)], cells)
    write_text(out / "peers.md", lines)
    table = [
        {"kind": one.kind, "cutoff_hz": one.cutoff_hz, "system": one.system, "metric": one.metric.key}
        | {name: None if value != value else value for name, value in asdict(one.estimate).items()}
        for one in found
    ]
    write_text(out / "peers.json", json.dumps({"conditions": title, "estimates": table}, indent=1) + "\n")


@click.command()
@click.argument("clips", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--render", "renders", multiple=True, default=RENDERS, help="As of `ttsr evaluate`; may be repeated.")
@click.option("--finished", multiple=True, metavar="NAME=FOLDER", help="Files of another system; may be repeated.")
@click.option("--speechsr", type=click.Path(path_type=Path), help="Checkout of HierSpeech++.")
@click.option("--audiosr", type=click.Path(path_type=Path), help="Official checkpoint, for the package audiosr.")
@click.option("--lavasr", type=click.Path(path_type=Path), help="Folder of LavaSR's weights.")
@click.option("--hifi-gan-bwe", type=click.Path(path_type=Path), help="TorchScript of a release.")
@click.option("--cutoff", "cutoffs", type=float, multiple=True, default=(8000.0,), show_default=True)
@click.option("--kind", "kinds", multiple=True)
@click.option("--limit", type=int, help="Only the first so many clips of each kind.")
@click.option("--seconds", type=float, help="Only so much of each clip.")
def main(clips: Path, out: Path, renders: Sequence[str], finished: Sequence[str], **given: Any) -> None:
    """Measure all systems that are at hand on CLIPS, a manifest or a folder; tables in OUT."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        conditions = Conditions(tuple(given["cutoffs"]), "brick", given["seconds"])
        corpus = load_corpus(clips, given["kinds"], given["limit"])
        files = [(name, Path(folder)) for name, _, folder in (text.partition("=") for text in finished)]
        specs = plan_specs(renders, (), 0, False)
        own = plan_systems(("lr", "replication"), files, specs, conditions.cutoffs)
        systems: list[System] = [*own, *peers(given)]
        run = EvaluationRun(conditions, Results(out / "results.jsonl"), Told())
        rows = evaluate_systems(systems, corpus, run)
        write(out, rows, conditions_line(clips, conditions, False, 0, None))
    except TtsrError as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"{out / 'peers.md'}: {len(rows)} results, {len(run.reporter.failures)} failed")
    sys.exit(bool(run.reporter.failures))


if __name__ == "__main__":
    main()

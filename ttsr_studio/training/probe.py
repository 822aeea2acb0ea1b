"""Train the probe: `python -m ttsr_studio.training.probe RUN DATA…`.

Excerpts of the clips against draws of the built-in engine from their own band-limited copies, and against those copies
as they are, told apart above the cutoff. Clips of some groups (speaker, instrument, author) are held out as in all
training here. When it is done it writes probe.safetensors and report.json: the area under the curve on held-out pairs,
and whether the log-odds of several draws of a window follow their distance to the truth (log-spectral, and by Zimtohrli
where it is installed). Both are over excerpts with bootstrap intervals; excerpts share clips, so the intervals are
somewhat narrow.
"""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import cast

import numpy as np
import torch
from scipy.stats import rankdata, spearmanr
from torch import Tensor
from torch.nn import functional as F

from ttsr_studio.diffusion.model import Engine
from ttsr_studio.engines.builtin.engine import WEIGHTS, load_file
from ttsr_studio.training.bank import EDGE_MARGIN_HZ, candidates, log_distances
from ttsr_studio.training.command import command, existing, existing_file, new_folder, one_line
from ttsr_studio.training.data import Batch, Corpus, Pairs
from ttsr_studio.training.loop import learning_rate
from ttsr_studio.training.shards import load_shards
from ttsr_studio.verifiers.probe.network import ProbeConfig, ProbeNetwork, band_masks, measured_cells
from ttsr_studio.weights.checkpoint import export

RESAMPLES = 1000


@dataclass
class Examples:
    """Cells of recordings, of as many draws and of their dull inputs, [B, 4, bands, T] in half precision each, and
    their masks [B, bands]."""

    real: Tensor
    drawn: Tensor
    dull: Tensor
    known: Tensor
    decides: Tensor

    def __len__(self) -> int:
        return len(self.real)

    def odds(self, net: ProbeNetwork, rows: Tensor) -> list[Tensor]:
        """Log-odds of the recordings, the draws and the inputs of some rows."""
        masks = self.known[rows], self.decides[rows]
        return [net(planes[rows].float(), *masks) for planes in (self.real, self.drawn, self.dull)]


def masks_of(batch: Batch, config: ProbeConfig) -> tuple[Tensor, Tensor]:
    """What is known and what decides, [B, bands]: from the cutoff up to where the clip holds something."""
    edge = (batch.edge_hz - EDGE_MARGIN_HZ).clamp(max=config.stop_hz)
    return band_masks(batch.cutoff_hz[:, 0], edge, config)


@torch.no_grad()
def make_examples(pairs: Pairs, engine: Engine, config: ProbeConfig, batches: int) -> Examples:
    """Draw once for every excerpt; those with nothing to compare are left out."""
    parts = []
    for step in range(batches):
        batch = pairs.batch(step)
        known, decides = masks_of(batch, config)
        drawn = candidates(engine, batch, 1, step)[:, 0]
        use = decides.any(dim=1)
        planes = [measured_cells(audio, config).half() for audio in (batch.hr, drawn, batch.lr)]
        parts.append(tuple(x[use] for x in (*planes, known, decides)))
    return Examples(*(torch.cat(column) for column in zip(*parts, strict=True)))


def area_under_curve(real: np.ndarray, drawn: np.ndarray) -> float:
    """Chance that a recording has higher log-odds than a draw, ties by half."""
    ranks = rankdata(np.concatenate([real, drawn]))[: len(real)]
    return float((ranks.sum() - len(real) * (len(real) + 1) / 2) / (len(real) * len(drawn)))


def with_interval(values: Sequence[np.ndarray], statistic: object, seed: int = 0) -> list[float]:
    """A statistic of rows [n] and its 95 % bootstrap interval over them."""
    assert callable(statistic)
    rng, count = np.random.default_rng(seed), len(values[0])
    drawn = [statistic(*(v[rows] for v in values)) for rows in rng.integers(count, size=(RESAMPLES, count))]
    return [round(float(x), 4) for x in (statistic(*values), *np.quantile(drawn, (0.025, 0.975)))]


def fit_probe(net: ProbeNetwork, examples: Examples, steps: int, size: int, seed: int) -> None:
    """Logistic loss of recordings against draws and, with a quarter of the weight, inputs that nothing was added to."""
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1.0, weight_decay=0.05)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, 2e-3)
        real, drawn, dull = examples.odds(net, torch.randint(len(examples), (size,)))
        loss = F.softplus(-real).mean() + F.softplus(drawn).mean() + 0.25 * F.softplus(dull).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            print(json.dumps({"step": step, "loss": round(float(loss.detach()), 4)}), flush=True)


@torch.no_grad()
def judged(net: ProbeNetwork, pairs: Pairs, engine: Engine, batches: int, count: int) -> dict[str, list[float]]:
    """Rank correlations of log-odds with nearness to the truth over the draws of a window, one a window."""
    found: dict[str, list[float]] = {"log_spectral": []}
    for step in range(batches):
        batch = pairs.batch(100_000 + step)
        known, decides = masks_of(batch, net.config)
        audio = candidates(engine, batch, count, 100_000 + step)
        distances = {"log_spectral": log_distances(audio, batch.hr, batch.cutoff_hz[:, 0], batch.edge_hz).numpy()}
        if find_spec("zimtohrli"):
            import zimtohrli  # In the extra "evaluate".

            rows = zip(batch.hr.numpy(), audio.numpy(), strict=True)
            distances["zimtohrli"] = np.array([[-zimtohrli.mos_from_signals(t, x) for x in many] for t, many in rows])
        for row in np.flatnonzero(decides.any(dim=1)):
            masks = (x[row : row + 1].expand(count, -1) for x in (known, decides))
            odds = net(measured_cells(audio[row], net.config), *masks).numpy()
            for name, distance in distances.items():
                found.setdefault(name, []).append(float(spearmanr(odds, -distance[row]).statistic))
    return found


def parser() -> ArgumentParser:
    """The command line."""
    made = command("probe", "Train on the clips of DATA, keeping weights and report in FOLDER.")
    made.add_argument("folder", type=new_folder)
    made.add_argument("data", nargs="+", type=existing, help="folders with manifest.csv, or shards")
    made.add_argument("--engine", type=existing_file, default=WEIGHTS, help="weights of the built-in engine that draws")
    made.add_argument("--batches", type=int, default=64, help="of excerpts that are drawn for")
    made.add_argument("--held-batches", type=int, default=16, help="of held-out excerpts")
    made.add_argument("--judged-batches", type=int, default=3, help="of held-out excerpts with several draws")
    made.add_argument("--count", type=int, default=8, help="draws of those")
    made.add_argument("--batch", type=int, default=8, help="excerpts of a batch")
    made.add_argument("--frames", type=int, default=200, help="length of an excerpt, frames of 512 samples")
    made.add_argument("--steps", type=int, default=700, help="of the training")
    made.add_argument("--width", type=int, default=ProbeConfig.width, help="of the network")
    made.add_argument("--seed", type=int, default=0, help="of the random numbers")
    return made


@one_line()
def main(arguments: Sequence[str] | None = None) -> None:
    """Draw, train, measure, and write what ships."""
    given = parser().parse_intermixed_args(arguments)
    config, cpu = ProbeConfig(width=given.width), torch.device("cpu")
    expected = None if given.engine != WEIGHTS else WEIGHTS.with_name(WEIGHTS.name + ".sha256")
    engine = cast(Engine, load_file("cpu", given.engine, expected))
    samples = (given.frames - 1) * 512
    pairs, held = (
        Pairs(Corpus(load_shards(given.data, validation=part), cpu, speeds=()), given.batch, samples, seed, splices=0.0)
        for part, seed in ((False, given.seed), (True, given.seed + 1))
    )
    torch.manual_seed(given.seed)
    net = ProbeNetwork(config)
    fit_probe(net, make_examples(pairs, engine, config, given.batches), given.steps, 24, given.seed)
    given.folder.mkdir(parents=True, exist_ok=True)
    export(net, config.to_dict(), given.folder / "probe.safetensors", {"steps": given.steps, "seed": given.seed})
    report = worth_of_probe(net.eval(), held, engine, given)
    (given.folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))


@torch.no_grad()
def worth_of_probe(net: ProbeNetwork, held: Pairs, engine: Engine, given: Namespace) -> dict[str, object]:
    """What the probe is worth on held-out groups."""
    examples = make_examples(held, engine, net.config, given.held_batches)
    odds = [examples.odds(net, rows) for rows in torch.arange(len(examples)).split(32)]
    real, drawn, dull = (torch.cat(column).numpy() for column in zip(*odds, strict=True))
    follows = judged(net, held, engine, given.judged_batches, given.count)
    return {
        "pairs": len(examples),
        "auc": with_interval([real, drawn], area_under_curve),
        "auc_input": with_interval([real, dull], area_under_curve),
        "same_excerpt": with_interval([(real > drawn).astype(float)], np.mean),
        "windows": len(follows["log_spectral"]),
        "draws": given.count,
        "spearman": {name: with_interval([np.array(rows)], np.nanmean) for name, rows in follows.items()},
    }


if __name__ == "__main__":
    main()

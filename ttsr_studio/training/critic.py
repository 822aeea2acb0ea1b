"""Train the critic: `python -m ttsr_studio.training.critic RUN DATA… --engine WEIGHTS`.

Stage "expect" fits mean and variance of the truth's views by their Gaussian likelihood. Stage "rank" goes on with a
bank of engine candidates: the same likelihood, plus the distance of every candidate to the truth by regression, plus a
pairwise logistic ranking loss (RankNet, Burges et al. 2005) within windows, each pair weighted by how much it matters.
Both stages and the bank are resumable.
"""

import time
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import click
import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional as F

from ttsr_studio.analysis.spectra import N_FFT, POWER_FLOOR, power_spectrogram
from ttsr_studio.diffusion.batch_limit import BatchLimit
from ttsr_studio.diffusion.denoiser import Meter, MeteredDenoiser
from ttsr_studio.diffusion.model import Engine
from ttsr_studio.diffusion.noise import NoiseKey, draw
from ttsr_studio.diffusion.samplers.registry import get_sampler
from ttsr_studio.diffusion.schedules import sigmas
from ttsr_studio.engines.builtin.engine import load_file
from ttsr_studio.errors import InputError
from ttsr_studio.training.data import Batch, Corpus, Pairs
from ttsr_studio.training.loop import Run, learning_rate, one_line, recent_mean, same_sizes
from ttsr_studio.training.shards import load
from ttsr_studio.verifiers.critic.network import CriticConfig, CriticNetwork, load_network
from ttsr_studio.weights.checkpoint import export

STAGES = ("expect", "rank")
EDGE_MARGIN_HZ = 200
CLIP = 4.0
"""Deviations of the truth from its mean count up to about this many standard deviations."""

OPINION_WEIGHT = 0.3
"""Of a point of Zimtohrli (1 to 5) against a unit of log-spectral distance: candidates differ about alike in both."""

RANK_SCALE = 0.02
"""Difference of expected distances at which the ranking loss bends."""


def likelihood_loss(net: CriticNetwork, truth: Tensor, mean: Tensor, variance: Tensor, mask: Tensor) -> Tensor:
    """Negative Gaussian log-likelihood of the truth [B, views, T], mean over what is judged; views weigh alike."""
    off = CLIP * ((truth - mean) / variance.sqrt() / CLIP).tanh()
    loss = (0.5 * (off**2 + variance.log())) * mask
    parts = zip(loss.split(net.sizes, dim=1), mask.split(net.sizes, dim=1), strict=True)
    means = [part.sum() / (inside.sum() * truth.shape[-1]).clamp(min=1) for part, inside in parts]
    return torch.stack(means).mean()


def ranking_loss(expected: Tensor, distance: Tensor) -> Tensor:
    """expected, distance [W, K]: logistic loss of the pairs' order, weighted by how far apart the distances are."""
    order = distance[:, :, None] - distance[:, None, :]
    lead = expected[:, :, None] - expected[:, None, :]
    loss = F.softplus(-lead * order.sign() / RANK_SCALE) * order.abs()
    return loss.sum() / order.abs().sum().clamp(min=1e-6)


@dataclass
class Bank:
    """Windows of engine candidates.

    Attributes:
        lr: [W, samples], float16; cutoff_hz, edge_hz [W].
        truth: views [W, views, T], float16.
        views: of the candidates, [W, K, views, T], float16.
        distance: to the truth, from cutoff to edge, [W, K].
    """

    lr: Tensor
    cutoff_hz: Tensor
    edge_hz: Tensor
    truth: Tensor
    views: Tensor
    distance: Tensor

    def __len__(self) -> int:
        return len(self.lr)

    def rows(self, index: Tensor) -> "Bank":
        return Bank(*(value[index].float() for value in self.__dict__.values()))


def candidates(engine: Engine, batch: Batch, count: int, seed: int) -> Tensor:
    """Draw candidates as a render does: [B, count, samples]."""
    rows = len(batch.lr)
    keys = [NoiseKey(1000 * seed + i) for i in range(rows)]
    heard = F.pad(batch.lr, (engine.lookaround, engine.lookaround))
    conditioning = engine.condition(heard[:, None], batch.cutoff_hz[:, :1], keys)
    index = torch.arange(rows).repeat_interleave(count)
    shape = engine.noise_shape(batch.lr.shape[-1])
    noise = torch.stack([draw(key.child("draw", k), shape) for key in keys for k in range(count)])
    low, high = engine.sigma_range
    levels = sigmas(engine.default_schedule, engine.default_steps, low, high, **engine.schedule_options)
    chosen = conditioning.rows(index)
    denoiser = MeteredDenoiser(engine, chosen, Meter(), limit=BatchLimit(len(index)))
    x0, _ = get_sampler(engine.default_solver)(
        denoiser, engine.start(noise * engine.default_temperature, float(levels[0])), levels
    )
    audio: Tensor = engine.decode(x0, chosen).unflatten(0, (rows, count))
    return audio


def distances(audio: Tensor, truth: Tensor, cutoff_hz: Tensor, edge_hz: Tensor) -> Tensor:
    """Distance of [B, K, samples] to [B, samples], [B, K]: log-spectral from cutoff to edge, and by Zimtohrli."""
    import zimtohrli  # In the extra "evaluate".

    rows = zip(truth.numpy(), audio.numpy(), strict=True)
    opinions = [[zimtohrli.mos_from_signals(true, one) for one in many] for true, many in rows]
    return log_distances(audio, truth, cutoff_hz, edge_hz) + OPINION_WEIGHT * (5 - torch.tensor(opinions))


def log_distances(audio: Tensor, truth: Tensor, cutoff_hz: Tensor, edge_hz: Tensor) -> Tensor:
    """Log-spectral distance of [B, K, samples] to [B, samples] from cutoff to edge, [B, K]."""
    hz = torch.arange(N_FFT // 2 + 1) * (48000 / N_FFT)
    mask = ((hz[None] >= cutoff_hz[:, None]) & (hz[None] <= edge_hz[:, None] - EDGE_MARGIN_HZ)).float()[:, :, None]
    true = power_spectrogram(truth).clamp_min(POWER_FLOOR).log10()
    count = mask.sum(1).clamp(min=1)
    made = (power_spectrogram(x).clamp_min(POWER_FLOOR).log10() for x in audio.unbind(1))
    return torch.stack([(((x - true) ** 2 * mask).sum(1) / count).sqrt().mean(-1) for x in made], dim=1)


@torch.no_grad()
def make_bank(
    net: CriticNetwork, engine: Engine, pairs: Pairs, path: Path, windows: int, count: int, first: int
) -> Bank:
    """Load the bank at `path`, or draw it; parts are kept, so a stopped call goes on. Batches start at `first`."""
    if path.exists():
        return Bank(**torch.load(path, weights_only=True))
    parts = []
    for step in range((windows + pairs.size - 1) // pairs.size):
        part = path.with_name(f"{path.stem}-{step}.part")
        if not part.exists():
            batch = pairs.batch(first + step)
            audio = candidates(engine, batch, count, first + step)
            edge = batch.edge_hz
            torch.save(
                asdict(
                    Bank(
                        batch.lr.half(), batch.cutoff_hz[:, 0], edge, net.views(batch.hr).half(),
                        net.views(audio).half(), distances(audio, batch.hr, batch.cutoff_hz[:, 0], edge),
                    )
                ),
                part,
            )  # fmt: skip
        parts.append(part)
    stored = [torch.load(part, weights_only=True) for part in parts]
    whole = {name: torch.cat([part[name] for part in stored]) for name in stored[0]}
    torch.save(whole, path)
    for part in parts:
        part.unlink()
    return Bank(**whole)


def judge(net: CriticNetwork, bank: Bank) -> tuple[Tensor, Tensor]:
    """Loss of the truth's views, and the expected distances of the candidates [W, K]."""
    mean, variance = net(bank.lr, bank.cutoff_hz)
    mask = net.band_mask(bank.cutoff_hz, bank.edge_hz - EDGE_MARGIN_HZ)
    count = bank.views.shape[1]
    repeated = (x.repeat_interleave(count, dim=0) for x in (mean, variance, mask))
    expected = net.expected_distances(bank.views.flatten(0, 1), *repeated).mean(-1).unflatten(0, (-1, count))
    return likelihood_loss(net, bank.truth, mean, variance, mask), expected


@torch.no_grad()
def quality(net: CriticNetwork, bank: Bank) -> dict[str, float]:
    """How a bank's windows are ranked: share of the way from mean to best, Spearman's rank correlation, loss."""
    losses, closed, best, ranks = [], 0.0, 0.0, []
    for start in range(0, len(bank), 16):
        part = bank.rows(torch.arange(start, min(start + 16, len(bank))))
        loss, expected = judge(net, part)
        losses.append(float(loss))
        chosen = part.distance.gather(1, expected.argmin(1, keepdim=True))[:, 0]
        mean = part.distance.mean(1)
        closed += float((mean - chosen).sum())
        best += float((mean - part.distance.amin(1)).sum())
        ranks += [spearmanr(e, d).statistic for e, d in zip(expected, part.distance, strict=True) if d.std() > 0]
    return {
        "loss": sum(losses) / len(losses),
        "closed": closed / best,
        "spearman": sum(ranks) / len(ranks),
    }


class CriticRun(Run[CriticNetwork]):
    """Trains all of the network in both stages."""

    def __init__(self, folder: Path, config: CriticConfig, device: torch.device, seed: int) -> None:
        torch.manual_seed(seed)
        super().__init__(folder, CriticNetwork(config), CriticNetwork(config), device)

    def new_optimizer(self) -> torch.optim.Optimizer:
        fused = self.device.type == "cuda"
        return torch.optim.AdamW(self.net.parameters(), lr=1.0, betas=(0.9, 0.98), weight_decay=0.03, fused=fused)


def start_ranking(run: CriticRun, weights: Path) -> None:
    """Begin a fresh run at its second stage, with the weights of a first one."""
    state = load_network(weights, run.device).state_dict()
    same_sizes(run.net, state, weights)
    run.net.load_state_dict(state)
    run.average.load_state_dict(run.net.state_dict())
    run.next_stage()


def expect(run: CriticRun, pairs: Pairs, held: Pairs, steps: int, peak: float, every: int, stop: int) -> None:
    """Run the first stage's remaining steps, up to step `stop` at most."""

    def loss_of(net: CriticNetwork, batch: Batch) -> Tensor:
        cutoff = batch.cutoff_hz[:, 0]
        mean, variance = net(batch.lr, cutoff)
        mask = net.band_mask(cutoff, batch.edge_hz - EDGE_MARGIN_HZ)
        return likelihood_loss(net, net.views(batch.hr), mean, variance, mask)

    began, first, losses = time.perf_counter(), run.step, []
    for batch in pairs.stream(run.step, min(stop, steps)):
        loss = loss_of(run.net, batch)
        run.update(loss, learning_rate(run.step, steps, peak), slowest=0.998)
        losses.append(loss.detach())
        if run.step % every == 0 or run.step in (stop, steps):
            with torch.no_grad():
                kept = [loss_of(run.average, held.batch(i)) for i in range(8)]
            run.log(
                stage=STAGES[0],
                step=run.step,
                loss=round(recent_mean(losses), 4),
                held_out=round(recent_mean(kept), 4),
                s_per_step=round((time.perf_counter() - began) / (run.step - first), 4),
            )
            losses.clear()
            run.save()


def rank(run: CriticRun, bank: Bank, held: Bank, steps: int, peak: float, every: int, stop: int) -> None:
    """Run the second stage's remaining steps, up to step `stop` at most."""
    if run.step == 0:
        run.log(stage=STAGES[1], step=0, **quality(run.average, held))
    losses = []
    while run.step < min(stop, steps):
        generator = torch.Generator().manual_seed(run.step)
        part = bank.rows(torch.randint(len(bank), (12,), generator=generator))
        known, expected = judge(run.net, part)
        loss = known + ranking_loss(expected, part.distance) + F.mse_loss(expected, part.distance)
        run.update(loss, learning_rate(run.step, steps, peak, warmup=30), slowest=0.99)
        losses.append(float(loss.detach()))
        if run.step % every == 0 or run.step in (stop, steps):
            recent = sum(losses[-every:]) / len(losses[-every:])
            run.log(stage=STAGES[1], step=run.step, train=recent, **quality(run.average, held))
            run.save()


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.argument("data", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--engine",
    "engines",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="Weights of the built-in engine whose candidates are ranked; several share the bank. Without any, the "
    "run ends before ranking.",
)
@click.option("--expect-steps", default=2400, show_default=True)
@click.option("--rank-steps", default=600, show_default=True)
@click.option("--batch", default=16, show_default=True)
@click.option("--frames", default=224, show_default=True, help="Length of an excerpt, frames of 512 samples.")
@click.option("--windows", default=1200, show_default=True, help="Of the bank, in all.")
@click.option("--held-windows", default=160, show_default=True, help="Of the validation bank.")
@click.option("--count", default=8, show_default=True, help="Candidates of a window.")
@click.option("--width", default=CriticConfig.width, show_default=True)
@click.option("--depth", default=CriticConfig.depth, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--device", default="cpu", show_default=True, help="Of the first stage; candidates are made on the CPU.")
@click.option("--every", default=200, show_default=True, help="Steps between checkpoints.")
@click.option(
    "--start-from", type=click.Path(exists=True, path_type=Path), help="Weights of a first stage; only ranking is left."
)
@click.option("--stop-after", type=int, help="Steps of this call; the next call goes on from there.")
@one_line()
def main(
    folder: Path,
    data: tuple[Path, ...],
    engines: tuple[Path, ...],
    expect_steps: int,
    rank_steps: int,
    batch: int,
    frames: int,
    windows: int,
    held_windows: int,
    count: int,
    width: int,
    depth: int,
    seed: int,
    device: str,
    every: int,
    start_from: Path | None,
    stop_after: int | None,
) -> None:
    """Train on the clips of DATA (folders with manifest.csv, or shards), keeping state, log and weights in FOLDER."""
    if engines and find_spec("zimtohrli") is None:
        raise InputError("ranking listens by zimtohrli, which is not installed; pip install 'ttsr-studio[evaluate]'")
    config = CriticConfig(width=width, depth=depth)
    run = CriticRun(folder, config, torch.device(device), seed)
    if start_from and (run.stage, run.step) == (0, 0):
        start_ranking(run, start_from)
    torch.set_float32_matmul_precision("high")
    samples = (frames - 1) * 512
    pairs = Pairs(Corpus(load(data, validation=False), run.device), batch, samples, seed, splices=0.0)
    held = Pairs(Corpus(load(data, validation=True), run.device, speeds=()), batch, samples, seed + 1, splices=0.0)
    left = stop_after if stop_after is not None else expect_steps + rank_steps
    if run.stage == 0:
        began = run.step
        expect(run, pairs, held, expect_steps, 1e-3, every, run.step + left)
        left -= run.step - began
        if run.step < expect_steps:
            return
        run.next_stage()
        run.save()
    if run.stage == 1 and engines:
        loaded = [cast(Engine, load_file("cpu", path, None)) for path in engines]
        parts = [
            make_bank(
                run.average, engine, pairs, folder / f"bank{i}.pt", windows // len(loaded), count, 1_000_000 * (i + 1)
            )
            for i, engine in enumerate(loaded)
        ]
        bank = Bank(**{name: torch.cat([getattr(part, name) for part in parts]) for name in parts[0].__dict__})
        kept = make_bank(run.average, loaded[-1], held, folder / "held.pt", held_windows, count, 0)
        rank(run, bank, kept, rank_steps, 3e-4, min(every, 100), run.step + left)
        if run.step < rank_steps:
            return
        run.next_stage()
        run.save()
    training = {"expect_steps": expect_steps, "rank_steps": rank_steps, "seed": seed}
    export(run.average, config.to_dict(), folder / "critic.safetensors", training)


if __name__ == "__main__":
    main()

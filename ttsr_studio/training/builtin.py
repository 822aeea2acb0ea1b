"""Train the built-in engine: `python -m ttsr_studio.training.builtin RUN DATA…`.

Conditioner and denoiser are trained together. The conditioner fits location and spread of every cell's log energy by
a Laplace likelihood (unlike a Gaussian it does not let a few cells outvote the rest), the mean energy by an
exponential likelihood, and the tonality. The denoiser fits what that leaves open, in units of its spread (EDM, Karras
et al. 2022). A run stopped at any time goes on from its last checkpoint, with the batches that an unbroken run would
have seen.
"""

import math
import time
from argparse import ArgumentParser, BooleanOptionalAction
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ttsr_studio.engines.builtin.networks import (
    RESIDUAL_LIMIT,
    TONALITY_SCALE,
    BuiltinNetwork,
    NetworkConfig,
    Prediction,
    load_network,
    pooled,
    state_mask,
    together,
)
from ttsr_studio.engines.builtin.spectral import (
    AUDIBLE_POWER,
    BAND_HZ,
    HOP,
    NOISE_TONALITY,
    POWER_FLOOR,
    Features,
    band_centres,
    by_frame,
    features,
    fine_power,
    log_energy,
    missing_bands,
    tonality,
    twice,
)
from ttsr_studio.training.columns import ListeningColumns
from ttsr_studio.training.command import command, existing, new_folder, one_line
from ttsr_studio.training.data import Batch, Corpus, Pairs
from ttsr_studio.training.loop import TrainingRun, learning_rate, recent_mean, same_sizes
from ttsr_studio.training.shards import load_shards
from ttsr_studio.weights.checkpoint import export

EDGE_MARGIN_HZ = 100
QUIET_WEIGHT = 0.15
"""Of cells at the floor, against audible ones."""

SMOOTH_FRAMES, SMOOTH_WEIGHT = (9, 95), 0.3
"""Errors also count after a mean over so many fast frames (48 and 507 ms): by ViSQOL a render whose levels are right
over half a second scores 3.8 where one whose finer course is right scores 3.2 (validation part, 4 kHz, 15 clips)."""

MEAN_WEIGHT, TONAL_WEIGHT, DRAW_WEIGHT = 0.1, 0.25, 0.5
TONAL_DRAW_WEIGHT = 0.5
SIGMA_MEAN, SIGMA_SPREAD = 0.0, 1.2
"""Of the log of the noise levels trained on."""

PARTS = ("nll", "energy_off", "slow_off", "bias", "tonality_off", "draw")
"""What is logged of the validation part: likelihood, log energy off (nats), the same after a
mean over the longest of `SMOOTH_FRAMES`, its bias, tonality off, denoising loss."""


@dataclass(frozen=True)
class LossTargets:
    """What a batch asks for: features of the input; energy, mask [B, 64, 2T]; tonality [B, 64, T]."""

    inputs: Features
    energy: Tensor
    tonality: Tensor
    mask: Tensor

    @classmethod
    def of(cls, batch: Batch) -> "LossTargets":
        inputs = features(batch.lr, batch.cutoff_hz)
        energy = log_energy(batch.hr)
        wanted = missing_bands(by_frame(batch.cutoff_hz, energy.shape[-1] // 2))
        inside = bands_inside(batch.edge_hz)[:, :, None]
        return cls(inputs, energy, tonality(fine_power(batch.hr)), twice(wanted * inside))


def bands_inside(edge_hz: Tensor) -> Tensor:
    """1 for bands that end below the edge of a clip's content, [B, 64] of [B], Hz."""
    return (band_centres(edge_hz.device) + BAND_HZ / 2 <= edge_hz[:, None] - EDGE_MARGIN_HZ).float()


def audibility(log_energy: Tensor) -> Tensor:
    """How much energies count: in full where they are heard, `QUIET_WEIGHT` at the floor."""
    audible = (log_energy - math.log(POWER_FLOOR)) / math.log(AUDIBLE_POWER / POWER_FLOOR)
    return audible.clamp(QUIET_WEIGHT, 1)


def cell_weights(targets: LossTargets, prediction: Prediction) -> Tensor:
    """Cells that are audible in the truth or in the prediction count in full, [B, 64, 2T]."""
    return audibility(torch.maximum(targets.energy, prediction.location.detach())) * targets.mask


def smoothed(off: Tensor, weight: Tensor, frames: int) -> Tensor:
    """Errors [B, 64, 2T], their mean over so many frames around each, by weight; the same shape."""

    def around(x: Tensor) -> Tensor:
        return F.avg_pool1d(x, frames, 1, frames // 2, count_include_pad=False)

    return around(off * weight) / around(weight).clamp(min=1e-3)


def conditioner_loss(targets: LossTargets, prediction: Prediction, weight: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of what it predicts, and its parts."""
    total = weight.sum().clamp(min=1)
    off = targets.energy - prediction.location
    likelihood = (math.sqrt(2) * (off / prediction.spread).abs()).clamp(max=40) + prediction.spread.log()
    smooth = sum((smoothed(off, weight, frames).abs() for frames in SMOOTH_FRAMES), torch.zeros_like(off))
    above = targets.energy - prediction.mean
    # e^x, and a straight line where a single cell would rule.
    excess = torch.where(above < 2, above.clamp(max=2).exp(), math.exp(2) * (above - 1))
    slow = weight[..., ::2]
    tonal = (targets.tonality - prediction.tonality).abs() * ((targets.tonality - NOISE_TONALITY).abs() + 0.3)
    loss = (weight * (likelihood + SMOOTH_WEIGHT * smooth + MEAN_WEIGHT * (excess - above))).sum() / total
    loss = loss + TONAL_WEIGHT * (tonal * slow).sum() / slow.sum().clamp(min=1)
    parts = {
        "nll": (weight * likelihood).sum() / total,
        "energy_off": (weight * off.abs()).sum() / total,
        "slow_off": (weight * smoothed(off, weight, SMOOTH_FRAMES[-1]).abs()).sum() / total,
        "bias": (weight * -off).sum() / total,
        "tonality_off": ((targets.tonality - prediction.tonality).abs() * slow).sum() / slow.sum().clamp(min=1),
    }
    return loss, parts


def residual(targets: LossTargets, prediction: Prediction) -> Tensor:
    """What the prediction leaves open, in its own units, [B, 144, T]; no gradient."""
    cells = (targets.energy - prediction.location.detach()) / prediction.spread.detach()
    tonal = pooled(targets.tonality - prediction.tonality.detach()) / TONALITY_SCALE
    return together(cells, tonal).clamp(-RESIDUAL_LIMIT, RESIDUAL_LIMIT)


def draw_loss(
    net: BuiltinNetwork, targets: LossTargets, prediction: Prediction, weight: Tensor, sigma: Tensor, noise: Tensor
) -> Tensor:
    """EDM loss with weight 1 / c_out^2 (equation 8 of Karras et al. 2022 with sigma_data 1)."""
    mask = state_mask(targets.mask)
    clean = residual(targets, prediction) * mask
    fixed = replace(
        prediction,
        location=prediction.location.detach(),
        spread=prediction.spread.detach(),
        tonality=prediction.tonality.detach(),
    )
    maps, frames = net.denoiser.prepare(fixed)
    denoised = net.denoiser(clean + sigma[:, None, None] * noise * mask, sigma, maps, frames, mask)
    tonal = pooled(weight[..., ::2]) * TONAL_DRAW_WEIGHT
    share = together(weight, tonal) * mask
    scale = ((1 + sigma**2) / sigma**2)[:, None, None]
    loss: Tensor = (scale * share * (denoised - clean) ** 2).sum() / share.sum().clamp(min=1)
    return loss


def losses(
    net: BuiltinNetwork, targets: LossTargets, generator: torch.Generator, draws: bool = True
) -> tuple[Tensor, dict[str, Tensor]]:
    """The whole loss and its parts (`PARTS`); without `draws` the denoiser is left out."""
    prediction = net.conditioner(targets.inputs)
    weight = cell_weights(targets, prediction)
    loss, parts = conditioner_loss(targets, prediction, weight)
    if not draws:
        return loss, parts
    rows, device = len(targets.energy), targets.energy.device
    level = torch.randn(rows, generator=generator, device=device)
    noise = torch.randn((rows, *state_mask(prediction.missing).shape[1:]), generator=generator, device=device)
    drawn = draw_loss(net, targets, prediction, weight, (SIGMA_MEAN + SIGMA_SPREAD * level).exp(), noise)
    return loss + DRAW_WEIGHT * drawn, parts | {"draw": drawn}


class BuiltinRun(TrainingRun[BuiltinNetwork]):
    """Trains both networks together."""

    def __init__(self, folder: Path, config: NetworkConfig, device: torch.device, seed: int) -> None:
        torch.manual_seed(seed)
        self.config = config.to_dict()
        super().__init__(folder, BuiltinNetwork(config), BuiltinNetwork(config), device)

    def start_from(self, weights: Path) -> None:
        """Begin a fresh run with a weights file instead of random numbers; a context may be new to it.

        A level and an image network in it are kept as they are (`ttsr_studio.training.levels` and `image` train them).
        """
        new = {name: x for name, x in self.net.state_dict().items() if name.startswith("conditioner.contexts.")}
        state = new | load_network(weights, self.device).state_dict()
        same_sizes(self.net, state, weights)
        self.net.load_state_dict(state)
        self.average.load_state_dict(self.net.state_dict())

    def new_optimizer(self) -> torch.optim.Optimizer:
        self.net.train()
        fused = self.device.type == "cuda"
        return torch.optim.AdamW(self.net.parameters(), lr=1.0, betas=(0.9, 0.98), weight_decay=0.05, fused=fused)


def validation_parts(run: BuiltinRun, batches: list[LossTargets], half: bool) -> dict[str, float]:
    """Parts of the averaged weights' loss on fixed batches of the validation part."""
    generator = torch.Generator(run.device).manual_seed(0)
    with torch.no_grad(), torch.autocast(run.device.type, dtype=torch.bfloat16, enabled=half):
        parts = [losses(run.average, targets, generator)[1] for targets in batches]
    return {name: round(float(torch.stack([part[name] for part in parts]).mean()), 4) for name in PARTS}


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes:
        steps: in all; None to find it from `minutes`, after `probe` steps.
        minutes: that the whole run may take on this machine.
        peak: learning rate.
        every: steps between checkpoints.
        half: bfloat16 for the matrix products.
        draw_every: steps of which one trains the denoiser as well.
        stop_after: steps of this call; None for all that remain.
    """

    steps: int | None
    minutes: float
    peak: float
    every: int
    half: bool
    draw_every: int = 1
    stop_after: int | None = None
    probe: int = 60

    def stop_of(self, first: int) -> int:
        """The step at which a call that begins at `first` ends at the latest."""
        return 10**9 if self.stop_after is None else first + self.stop_after


def train(run: BuiltinRun, pairs: Pairs, held: Pairs, schedule: Schedule, columns: ListeningColumns | None) -> bool:
    """Run the remaining steps, as many as the schedule allows at most. True when the run is at its end."""
    kept = [LossTargets.of(held.batch(i)) for i in range(6)]
    if schedule.steps is not None:
        run.plan["steps"] = schedule.steps
    steps = int(run.plan.get("steps", 10**9))
    stop = min(steps, schedule.stop_of(run.step))
    began, first, recent = time.perf_counter(), run.step, []
    autocast = torch.autocast(run.device.type, dtype=torch.bfloat16, enabled=schedule.half)
    for batch in pairs.stream(run.step, stop):
        generator = torch.Generator(run.device).manual_seed(1_000_000 + run.step)
        torch.manual_seed(run.step)
        targets = LossTargets.of(batch)
        with autocast:
            loss, _ = losses(run.net, targets, generator, draws=run.step % schedule.draw_every == 0)
        planned = steps if steps < 10**9 else 100 * schedule.probe
        run.update(loss, learning_rate(run.step, planned, schedule.peak, warmup=200), slowest=0.999)
        recent.append(loss.detach())
        if "steps" not in run.plan and run.step >= schedule.probe:
            float(loss.detach())  # Waits for the device.
            speed = (time.perf_counter() - began) / (run.step - first)
            steps = stop = run.step + int((schedule.minutes * 60 - (time.perf_counter() - began)) / speed)
            run.plan["steps"] = steps
            stop = min(steps, schedule.stop_of(first))
        if run.step % schedule.every == 0 or run.step >= stop:
            mean = recent_mean(recent)
            run.log(
                step=run.step,
                of=steps,
                loss=round(mean, 4),
                **validation_parts(run, kept, schedule.half),
                s_per_step=round((time.perf_counter() - began) / (run.step - first), 4),
            )
            recent.clear()
            run.save()
        if columns and columns.due(run.step, run.step >= stop):
            run.log(step=run.step, **columns.entry(run.average, run.config, run.step))
        if run.step >= stop:
            break
    return run.step >= steps


def parser() -> ArgumentParser:
    """The command line."""
    made = command("builtin", "Train on the clips of DATA, keeping state, log and weights in FOLDER.")
    made.add_argument("folder", type=new_folder)
    made.add_argument("data", nargs="+", type=existing, help="folders with manifest.csv, or shards")
    made.add_argument("--steps", type=int, help="in all; found from --minutes when not given")
    made.add_argument("--minutes", type=float, default=60.0, help="that the run may take on this machine")
    made.add_argument("--batch", type=int, default=16, help="excerpts of a step")
    made.add_argument("--frames", type=int, default=384, help="length of an excerpt, frames of 512 samples")
    sizes = {
        "width": "of the conditioner's core",
        "depth": "of the conditioner's core",
        "draw_width": "of the denoiser's core",
        "draw_depth": "of the denoiser's core",
        "context": "channels that are kept of two seconds on either side; 0 for none",
    }
    for name, what in sizes.items():
        usual = f"default: as in the weights to go on from, or {getattr(NetworkConfig, name)}"
        made.add_argument(f"--{name.replace('_', '-')}", type=int, help=f"{what} ({usual})")
    made.add_argument("--dropout", type=float, default=NetworkConfig.dropout, help="in the conditioner's core")
    made.add_argument("--peak", type=float, default=1e-3, help="learning rate")
    made.add_argument("--seed", type=int, default=0, help="of the random numbers")
    made.add_argument("--device", default="cpu", help="of torch")
    made.add_argument("--draw-every", type=int, default=1, help="steps of which one trains the denoiser as well")
    switch = BooleanOptionalAction
    made.add_argument("--half", action=switch, default=False, help="bfloat16; pays on CUDA and on some CPUs")
    made.add_argument("--speeds", action=switch, default=True, help="train on clips slower and faster, too")
    made.add_argument("--every", type=int, default=200, help="steps between checkpoints")
    made.add_argument("--start-from", type=existing, help="weights to go on from, for a run that is new")
    made.add_argument("--columns", type=existing, help="clips on which `ttsr evaluate` hears the weights now and then")
    made.add_argument("--columns-every", type=int, default=1000, help="steps between these, and at the end")
    made.add_argument("--stop-after", type=int, help="steps of this call; the next call goes on from there")
    return made


@one_line()
def main(arguments: Sequence[str] | None = None) -> None:
    """Train, and export the weights when the last step is done."""
    given = parser().parse_intermixed_args(arguments)
    begun = load_network(given.start_from, torch.device("cpu")).config if given.start_from else NetworkConfig()
    asked = {name: getattr(given, name) for name in ("width", "depth", "draw_width", "draw_depth", "context")}
    sizes = {name: size for name, size in asked.items() if size is not None}
    config = replace(begun, dropout=given.dropout, **sizes)
    run = BuiltinRun(given.folder, config, torch.device(given.device), given.seed)
    if given.start_from and run.step == 0:
        run.start_from(given.start_from)
    torch.set_float32_matmul_precision("high")
    samples = (given.frames - 1) * HOP
    factors = {} if given.speeds else {"speeds": ()}
    corpus = Corpus(load_shards(given.data, validation=False), run.device, **factors)
    held = Corpus(load_shards(given.data, validation=True), run.device, speeds=())
    run.log(hours={kind: round(seconds / 3600, 2) for kind, seconds in corpus.seconds.items()})
    schedule = Schedule(
        given.steps, given.minutes, given.peak, given.every, given.half, given.draw_every, given.stop_after
    )
    columns = ListeningColumns(given.folder, given.columns, given.columns_every) if given.columns else None
    pairs = Pairs(corpus, given.batch, samples, given.seed)
    if train(run, pairs, Pairs(held, given.batch, samples, given.seed + 1), schedule, columns):
        training = {"steps": run.step, "batch": given.batch, "frames": given.frames, "seed": given.seed}
        export(run.average, run.config, given.folder / "builtin.safetensors", training)


if __name__ == "__main__":
    main()

"""Train the built-in engine: `python -m ttsr_studio.training.builtin DATA RUN`.

Stage "prior" fits the scale of every missing bin by the likelihood of a complex Student's t with two degrees of
freedom: unlike a Gaussian it does not let a few loud bins outvote the quiet ones. Stage "envelope" then fits the
diffusion of what the prior leaves open (EDM, Karras et al. 2022). Both are resumable: a run stopped at any time goes
on from its last checkpoint, with the batches that an unbroken run would have seen.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import click
import torch
from torch import Tensor, nn

from ttsr_studio.engines.builtin.network import BuiltinNetwork, NetworkConfig, load_network
from ttsr_studio.engines.builtin.spectral import (
    POWER_FLOOR,
    band_matrix,
    bin_hz,
    features,
    missing,
    normalised_cutoff,
    residual,
    stft,
)
from ttsr_studio.training.data import Batch, Pairs, load_clips
from ttsr_studio.training.run import Run, learning_rate
from ttsr_studio.weights import export

STAGES = ("prior", "envelope")


class Spectra:
    """Tensors that both losses need, made from a batch on the training device."""

    def __init__(self, batch: Batch, config: NetworkConfig, device: torch.device) -> None:
        cutoff_hz = batch.cutoff_hz.to(device)
        edge_hz = batch.edge_hz.to(device)
        low = stft(batch.lr.to(device), config)
        truth = stft(batch.hr.to(device), config)
        below_edge = bin_hz(config, device)[None] <= edge_hz[:, None] - 200
        self.features = features(low, cutoff_hz, config)
        self.cutoff = normalised_cutoff(cutoff_hz)
        self.power = truth.real**2 + truth.imag**2
        self.mask = missing(cutoff_hz, config) * below_edge


def prior_loss(log_variance: Tensor, spectra: Spectra) -> Tensor:
    """Negative log-likelihood of a complex Student's t (2 degrees of freedom), mean over the masked bins."""
    log_power = (spectra.power + POWER_FLOOR).log()
    loss = 2 * nn.functional.softplus(log_power - log_variance) + log_variance
    mask = spectra.mask[:, :, None]
    return (loss * mask).sum() / (mask.sum() * loss.shape[-1]).clamp(min=1)


def envelope_targets(net: BuiltinNetwork, spectra: Spectra) -> tuple[Tensor, Tensor, Tensor]:
    """Normalised residual [B, bands, T], its mask [B, bands, 1] and the condition before projection."""
    hidden, log_variance = net.conditioner(spectra.features, spectra.cutoff)
    log_variance = log_variance.float()
    bands = band_matrix(net.config, log_variance.device)
    raw = residual(spectra.power, log_variance, net.config)
    mask = ((bands @ spectra.mask[:, :, None]) > 0.5).float()
    target = (raw - net.residual_mean[None, :, None]) / net.residual_scale[None, :, None]
    condition = torch.cat([hidden.float(), 0.2 * (bands @ log_variance)], dim=1)
    return target * mask, mask, condition


def envelope_loss(net: BuiltinNetwork, spectra: Spectra, noise: Tensor, sigma: Tensor) -> Tensor:
    """EDM loss with weight 1 / c_out^2 (equation 8 of Karras et al. 2022 with sigma_data 1) over the masked bands."""
    with torch.no_grad():
        target, mask, condition = envelope_targets(net, spectra)
    width = net.config.condition_width
    projected = net.projection(condition[:, :width], condition[:, width:], spectra.cutoff)
    denoised = net.denoiser(target + sigma[:, None, None] * noise, sigma, projected)
    weight = ((1 + sigma**2) / sigma**2)[:, None, None]
    return (weight * mask * (denoised - target) ** 2).sum() / (mask.sum() * target.shape[-1]).clamp(min=1)


def calibrate(net: BuiltinNetwork, pairs: Pairs, device: torch.device, batches: int = 12) -> None:
    """Set the residual's mean and scale per band from training batches."""
    total, square, count = (torch.zeros(net.config.bands, device=device) for _ in range(3))
    with torch.no_grad():
        for step in range(batches):
            spectra = Spectra(pairs.batch(10_000_000 + step), net.config, device)
            target, mask, _ = envelope_targets(net, spectra)
            total += target.sum(dim=(0, 2))
            square += (target**2).sum(dim=(0, 2))
            count += mask.sum(dim=(0, 2)) * target.shape[-1]
    mean = total / count.clamp(min=1)
    # Bands near the bottom are rarely missing; shrink their figures towards the others'.
    weight = count / (count + count.mean())
    pooled = (total.sum() / count.sum(), (square.sum() / count.sum()).sqrt())
    spread = (square / count.clamp(min=1) - mean**2).clamp(min=0.01).sqrt()
    net.residual_mean.copy_(weight * mean + (1 - weight) * pooled[0])
    net.residual_scale.copy_(weight * spread + (1 - weight) * pooled[1])


class BuiltinRun(Run[BuiltinNetwork]):
    """Trains the conditioner in the first stage and the denoiser in the second."""

    def __init__(self, folder: Path, config: NetworkConfig, device: torch.device, seed: int) -> None:
        torch.manual_seed(seed)
        super().__init__(folder, BuiltinNetwork(config), BuiltinNetwork(config), device)

    def start_from(self, weights: Path) -> None:
        """Begin a fresh run with a weights file instead of random numbers.

        The statistics over time may be lacking; they add nothing at first.
        """
        state = load_network(weights, self.device).state_dict()
        lacking = self.net.load_state_dict(state, strict=False).missing_keys
        if strange := [name for name in lacking if "statistics" not in name]:
            raise click.ClickException(f"{weights}: no weights for {', '.join(strange)}")
        self.average.load_state_dict(self.net.state_dict())

    def new_optimizer(self) -> torch.optim.Optimizer:
        """Of the part that the stage trains; the other part's dropout is off."""
        net = self.net
        net.conditioner.train(self.stage == 0)
        parts = [net.conditioner] if self.stage == 0 else [net.projection, net.denoiser]
        return torch.optim.AdamW(
            [p for m in parts for p in m.parameters()], lr=1.0, betas=(0.9, 0.98), weight_decay=0.01
        )

    def next_stage(self) -> None:
        """The other half of the network is trained from here."""
        super().next_stage()
        self.optimizer = self.new_optimizer()


def loss_function(run: BuiltinRun, model: BuiltinNetwork, spectra: Spectra, draw: int) -> Tensor:
    """The loss of the run's stage; `draw` keys the diffusion's noise."""
    if run.stage == 0:
        _, log_variance = model.conditioner(spectra.features, spectra.cutoff)
        return prior_loss(log_variance.float(), spectra)
    generator = torch.Generator().manual_seed(draw)
    shape = (spectra.power.shape[0], model.config.bands, spectra.power.shape[-1])
    noise = torch.randn(shape, generator=generator).to(run.device)
    sigma = (torch.randn(shape[0], generator=generator) * 1.3 - 0.4).exp().to(run.device)
    return envelope_loss(model, spectra, noise, sigma)


def validate(run: BuiltinRun, pairs: Pairs, batches: int = 6) -> float:
    """Mean loss of the averaged weights on fixed batches of the validation part."""
    with torch.no_grad():
        losses = [
            loss_function(run, run.average, Spectra(pairs.batch(i), run.net.config, run.device), i)
            for i in range(batches)
        ]
    return float(torch.stack(losses).mean())


@dataclass(frozen=True)
class Stage:
    """How a stage is run.

    Attributes:
        steps: in all.
        peak: learning rate.
        every: steps between checkpoints.
        half: bfloat16 for the matrix products.
        tuned: whether it starts from trained weights, whose scale of the residual is kept.
    """

    steps: int
    peak: float
    every: int
    compile: bool
    half: bool
    tuned: bool


def train_stage(run: BuiltinRun, pairs: Pairs, held: Pairs, stage: Stage, stop: int) -> None:
    """Run the stage's remaining steps, up to step `stop` at most."""
    if run.stage == 1 and run.step == 0 and not stage.tuned:
        calibrate(run.net, pairs, run.device)
        run.average.load_state_dict(run.net.state_dict())
    if stage.compile:
        run.net.conditioner.compile()
        run.net.denoiser.compile()
    began, losses = time.perf_counter(), []
    autocast = torch.autocast(run.device.type, dtype=torch.bfloat16, enabled=stage.half)
    for batch in pairs.stream(run.step, min(stop, stage.steps)):
        spectra = Spectra(batch, run.net.config, run.device)
        torch.manual_seed(run.step)
        with autocast:
            loss = loss_function(run, run.net, spectra, 1_000_000 + run.step)
        run.update(loss, learning_rate(run.step, stage.steps, stage.peak), slowest=0.998)
        losses.append(float(loss.detach()))
        if run.step % stage.every == 0 or run.step in (stop, stage.steps):
            seconds = (time.perf_counter() - began) / len(losses)
            recent = sum(losses[-stage.every :]) / len(losses[-stage.every :])
            run.log(
                stage=STAGES[run.stage],
                step=run.step,
                loss=recent,
                held_out=validate(run, held),
                s_per_step=seconds,
            )
            run.save()


@click.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--prior-steps", default=3600, show_default=True)
@click.option("--envelope-steps", default=3000, show_default=True)
@click.option("--batch", default=24, show_default=True)
@click.option("--frames", default=112, show_default=True, help="Length of a training clip, STFT frames.")
@click.option("--width", default=256, show_default=True, help="Of the denoiser.")
@click.option("--condition-width", default=384, show_default=True)
@click.option("--depth", default=8, show_default=True, help="Of both networks.")
@click.option("--context", default=256, show_default=True, help="Channels of statistics over time; 0 for none.")
@click.option(
    "--extra",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of further clips, as `python -m ttsr_studio.training.mixes` makes.",
)
@click.option("--extra-share", default=0.4, show_default=True, help="Of excerpts of a kind that it has.")
@click.option("--seed", default=0, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option(
    "--compile/--no-compile", "compile_", default=False, show_default=True, help="Pays only with AMX or CUDA."
)
@click.option("--half/--no-half", default=False, show_default=True, help="bfloat16; pays on CUDA and on some CPUs.")
@click.option("--every", default=200, show_default=True, help="Steps between checkpoints.")
@click.option(
    "--start-from", type=click.Path(exists=True, path_type=Path), help="Weights to go on from, for a run that is new."
)
@click.option(
    "--rate-scale", default=1.0, show_default=True, help="Of the learning rates; lower to go on from weights."
)
@click.option("--stop-after", type=int, help="Steps of this call; the next call goes on from there.")
def main(
    data: Path,
    folder: Path,
    prior_steps: int,
    envelope_steps: int,
    batch: int,
    frames: int,
    width: int,
    condition_width: int,
    depth: int,
    context: int,
    extra: Path | None,
    extra_share: float,
    seed: int,
    device: str,
    compile_: bool,
    half: bool,
    every: int,
    stop_after: int | None,
    start_from: Path | None,
    rate_scale: float,
) -> None:
    """Train on the clips of DATA (a folder with manifest.csv), keeping checkpoints, log and weights in FOLDER."""
    config = NetworkConfig(
        width=width, condition_width=condition_width, depth=depth, condition_depth=depth, context=context
    )
    run = BuiltinRun(folder, config, torch.device(device), seed)
    if start_from and (run.stage, run.step) == (0, 0):
        run.start_from(start_from)
    samples = (frames - 1) * config.hop
    further = load_clips(extra, validation=False) if extra else None
    clips = load_clips(data, validation=False)
    pairs = Pairs(clips, batch, samples, seed, extra=further, extra_share=extra_share)
    held = Pairs(load_clips(data, validation=True), batch, samples, seed + 1)
    tuned = start_from is not None
    stages = [
        Stage(prior_steps, 8e-4 * rate_scale, every, compile_, half, tuned),
        Stage(envelope_steps, 1e-3 * rate_scale, every, compile_, half, tuned),
    ]
    left = stop_after if stop_after is not None else sum(stage.steps for stage in stages)
    while run.stage < len(stages):
        stage, began = stages[run.stage], run.step
        train_stage(run, pairs, held, stage, run.step + left)
        left -= run.step - began
        if run.step < stage.steps:
            return
        run.next_stage()
        run.save()
    export(
        run.average,
        config.to_dict(),
        folder / "builtin.safetensors",
        {"prior_steps": prior_steps, "envelope_steps": envelope_steps, "seed": seed},
    )


if __name__ == "__main__":
    main()

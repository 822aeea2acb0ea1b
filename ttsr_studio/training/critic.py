"""Train the critic: `python -m ttsr_studio.training.critic RUN DATA… --engine WEIGHTS`.

Stage "expect" fits mean and variance of the truth's views by their Gaussian likelihood. Stage "rank" goes on with a
bank of engine candidates: the same likelihood, plus the distance of every candidate to the truth by regression, plus a
pairwise logistic ranking loss (RankNet, Burges et al. 2005) within windows, each pair weighted by how much it matters.
Both stages and the bank are resumable.
"""

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional as F

from ttsr_studio.errors import InputError, pip_install
from ttsr_studio.training.bank import EDGE_MARGIN_HZ, Bank, BankPlan, BankSource, EngineFile, make_bank
from ttsr_studio.training.command import command, existing, existing_file, new_folder, one_line
from ttsr_studio.training.data import Batch, Corpus, Pairs
from ttsr_studio.training.loop import TrainingRun, learning_rate, recent_mean, same_sizes
from ttsr_studio.training.shards import load_shards
from ttsr_studio.training.spread import WorkPlace, add_farm, where_to_work
from ttsr_studio.verifiers.critic.network import CriticConfig, CriticNetwork, load_critic
from ttsr_studio.weights.checkpoint import export

STAGES = ("expect", "rank")
CLIP = 4.0
"""Deviations of the truth from its mean count up to about this many standard deviations."""

RANK_SCALE = 0.02
"""Difference of expected distances at which the ranking loss bends."""


def likelihood_loss(net: CriticNetwork, truth: Tensor, mean: Tensor, variance: Tensor, mask: Tensor) -> Tensor:
    """Negative Gaussian log-likelihood of the truth [B, views, T], mean over what is scored; views weigh alike."""
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


@dataclass(frozen=True)
class StagePlan:
    """How long and how fast a stage trains.

    Attributes:
        steps: in all.
        peak: learning rate.
        every: steps between checkpoints.
        stop: the step at which this call ends.
    """

    steps: int
    peak: float
    every: int
    stop: int


def scored(net: CriticNetwork, bank: Bank) -> tuple[Tensor, Tensor]:
    """Loss of the truth's views, and the expected distances of the candidates [W, K]."""
    mean, variance = net(bank.lr, bank.cutoff_hz)
    mask = net.band_mask(bank.cutoff_hz, bank.edge_hz - EDGE_MARGIN_HZ)
    count = bank.views.shape[1]
    repeated = (x.repeat_interleave(count, dim=0) for x in (mean, variance, mask))
    expected = net.expected_distances(bank.views.flatten(0, 1), *repeated).mean(-1).unflatten(0, (-1, count))
    return likelihood_loss(net, bank.truth, mean, variance, mask), expected


@torch.no_grad()
def batch_quality(net: CriticNetwork, bank: Bank) -> dict[str, float]:
    """How a bank's windows are ranked: share of the way from mean to best, Spearman's rank correlation, loss."""
    losses, closed, best, ranks = [], 0.0, 0.0, []
    for start in range(0, len(bank), 16):
        part = bank.rows(torch.arange(start, min(start + 16, len(bank))))
        loss, expected = scored(net, part)
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


class CriticRun(TrainingRun[CriticNetwork]):
    """Trains all of the network in both stages."""

    def __init__(self, folder: Path, config: CriticConfig, device: torch.device, seed: int) -> None:
        torch.manual_seed(seed)
        super().__init__(folder, CriticNetwork(config), CriticNetwork(config), device)

    def new_optimizer(self) -> torch.optim.Optimizer:
        fused = self.device.type == "cuda"
        return torch.optim.AdamW(self.net.parameters(), lr=1.0, betas=(0.9, 0.98), weight_decay=0.03, fused=fused)


def start_ranking(run: CriticRun, weights: Path) -> None:
    """Begin a fresh run at its second stage, with the weights of a first one."""
    state = load_critic(weights, run.device).state_dict()
    same_sizes(run.net, state, weights)
    run.net.load_state_dict(state)
    run.average.load_state_dict(run.net.state_dict())
    run.next_stage()


def expect(run: CriticRun, pairs: Pairs, held: Pairs, plan: StagePlan) -> None:
    """Run the first stage's remaining steps, up to where the plan stops."""

    def loss_of(net: CriticNetwork, batch: Batch) -> Tensor:
        cutoff = batch.cutoff_hz[:, 0]
        mean, variance = net(batch.lr, cutoff)
        mask = net.band_mask(cutoff, batch.edge_hz - EDGE_MARGIN_HZ)
        return likelihood_loss(net, net.views(batch.hr), mean, variance, mask)

    began, first, losses = time.perf_counter(), run.step, []
    for batch in pairs.stream(run.step, min(plan.stop, plan.steps)):
        loss = loss_of(run.net, batch)
        run.update(loss, learning_rate(run.step, plan.steps, plan.peak), slowest=0.998)
        losses.append(loss.detach())
        if run.step % plan.every == 0 or run.step in (plan.stop, plan.steps):
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


def rank(run: CriticRun, bank: Bank, held: Bank, plan: StagePlan) -> None:
    """Run the second stage's remaining steps, up to where the plan stops."""
    if run.step == 0:
        run.log(stage=STAGES[1], step=0, **batch_quality(run.average, held))
    losses = []
    while run.step < min(plan.stop, plan.steps):
        generator = torch.Generator().manual_seed(run.step)
        part = bank.rows(torch.randint(len(bank), (12,), generator=generator))
        known, expected = scored(run.net, part)
        loss = known + ranking_loss(expected, part.distance) + F.mse_loss(expected, part.distance)
        run.update(loss, learning_rate(run.step, plan.steps, plan.peak, warmup=30), slowest=0.99)
        losses.append(float(loss.detach()))
        if run.step % plan.every == 0 or run.step in (plan.stop, plan.steps):
            recent = sum(losses[-plan.every :]) / len(losses[-plan.every :])
            run.log(stage=STAGES[1], step=run.step, train=recent, **batch_quality(run.average, held))
            run.save()


def parser() -> ArgumentParser:
    """The command line."""
    made = command("critic", "Train on the clips of DATA, keeping state, log and weights in FOLDER.")
    made.add_argument("folder", type=new_folder)
    made.add_argument("data", nargs="+", type=existing, help="folders with manifest.csv, or shards")
    made.add_argument(
        "--engine",
        dest="engines",
        action="append",
        type=existing_file,
        default=[],
        help="weights of the built-in engine whose candidates are ranked; several share the bank; without any, the "
        "run ends before ranking",
    )
    made.add_argument("--expect-steps", type=int, default=2400, help="of the first stage")
    made.add_argument("--rank-steps", type=int, default=600, help="of the second stage")
    made.add_argument("--batch", type=int, default=16, help="excerpts of a step")
    made.add_argument("--frames", type=int, default=224, help="length of an excerpt, frames of 512 samples")
    made.add_argument("--windows", type=int, default=1200, help="of the bank, in all")
    made.add_argument("--held-windows", type=int, default=160, help="of the validation bank")
    made.add_argument("--count", type=int, default=8, help="candidates of a window")
    made.add_argument("--width", type=int, default=CriticConfig.width, help="of the network")
    made.add_argument("--depth", type=int, default=CriticConfig.depth, help="of the network")
    made.add_argument("--seed", type=int, default=0, help="of the random numbers")
    made.add_argument("--device", default="cpu", help="of the first stage; candidates are made on the CPU")
    made.add_argument("--every", type=int, default=200, help="steps between checkpoints")
    made.add_argument("--start-from", type=existing, help="weights of a first stage; only ranking is left")
    made.add_argument("--stop-after", type=int, help="steps of this call; the next call goes on from there")
    add_farm(made, "draws the candidates, on its processors")
    return made


@one_line()
def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is left of the stages, and export the weights when the last step is done."""
    given = parser().parse_intermixed_args(arguments)
    if given.engines and find_spec("zimtohrli") is None:
        raise InputError(
            f"ranking compares by zimtohrli, which is not installed; {pip_install('ttsr-studio[evaluate]')}"
        )
    config = CriticConfig(width=given.width, depth=given.depth)
    run = CriticRun(given.folder, config, torch.device(given.device), given.seed)
    if given.start_from and (run.stage, run.step) == (0, 0):
        start_ranking(run, given.start_from)
    torch.set_float32_matmul_precision("high")
    clips = Corpus(load_shards(given.data, validation=False), run.device)
    kept = Corpus(load_shards(given.data, validation=True), run.device, speeds=())
    samples = (given.frames - 1) * 512
    pairs = Pairs(clips, given.batch, samples, given.seed, splices=0.0)
    held = Pairs(kept, given.batch, samples, given.seed + 1, splices=0.0)
    left = given.stop_after if given.stop_after is not None else given.expect_steps + given.rank_steps
    if run.stage == 0:
        began = run.step
        expect(run, pairs, held, StagePlan(given.expect_steps, 1e-3, given.every, run.step + left))
        left -= run.step - began
        if run.step < given.expect_steps:
            return
        run.next_stage()
        run.save()
    if run.stage == 1 and given.engines:
        with where_to_work(given) as spread:
            bank, held_bank = make_banks(config, pairs, held, given, spread)
        rank(run, bank, held_bank, StagePlan(given.rank_steps, 3e-4, min(given.every, 100), run.step + left))
        if run.step < given.rank_steps:
            return
        run.next_stage()
        run.save()
    training = {"expect_steps": given.expect_steps, "rank_steps": given.rank_steps, "seed": given.seed}
    export(run.average, config.to_dict(), given.folder / "critic.safetensors", training)


def make_banks(
    config: CriticConfig, pairs: Pairs, held: Pairs, given: Namespace, spread: WorkPlace
) -> tuple[Bank, Bank]:
    """The bank that the engines share, and the validation bank, by the last of them."""
    sources = [BankSource(EngineFile.of(path), config, spread) for path in given.engines]
    parts = []
    for number, source in enumerate(sources):
        plan = BankPlan(given.windows // len(sources), given.count, 1_000_000 * (number + 1))
        parts.append(make_bank(source, pairs, given.folder / f"bank{number}.pt", plan))
    bank = Bank(**{name: torch.cat([getattr(part, name) for part in parts]) for name in parts[0].__dict__})
    plan = BankPlan(given.held_windows, given.count, 0)
    return bank, make_bank(sources[-1], held, given.folder / "held.pt", plan)


if __name__ == "__main__":
    main()

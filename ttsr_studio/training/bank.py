"""Banks of engine candidates, by which the critic learns to rank: drawn as a render draws them, here or on a farm."""

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
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
from ttsr_studio.storage.checksum import sha256
from ttsr_studio.training.data import Batch, Pairs
from ttsr_studio.training.spread import WorkPlace, in_this_process
from ttsr_studio.verifiers.critic.network import CriticConfig, CriticNetwork

EDGE_MARGIN_HZ = 200
RATING_WEIGHT = 0.3
"""Of a point of Zimtohrli (1 to 5) against a unit of log-spectral distance: candidates differ about alike in both."""


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


@dataclass(frozen=True)
class BankPlan:
    """How many windows a bank has, how many candidates each, and the number of the first batch they come from."""

    windows: int
    count: int
    first: int


def candidates(engine: Engine, batch: Batch, count: int, seed: int) -> Tensor:
    """Draw candidates as a render does: [B, count, samples]."""
    rows = len(batch.lr)
    keys = [NoiseKey(1000 * seed + i) for i in range(rows)]
    padded = F.pad(batch.lr, (engine.lookaround, engine.lookaround))
    conditioning = engine.condition(padded[:, None], batch.cutoff_hz[:, :1], keys)
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


def truth_distances(audio: Tensor, truth: Tensor, cutoff_hz: Tensor, edge_hz: Tensor) -> Tensor:
    """Distance of [B, K, samples] to [B, samples], [B, K]: log-spectral from cutoff to edge, and by Zimtohrli."""
    import zimtohrli  # In the extra "evaluate".

    rows = zip(truth.numpy(), audio.numpy(), strict=True)
    ratings = [[zimtohrli.mos_from_signals(true, one) for one in many] for true, many in rows]
    return log_distances(audio, truth, cutoff_hz, edge_hz) + RATING_WEIGHT * (5 - torch.tensor(ratings))


def log_distances(audio: Tensor, truth: Tensor, cutoff_hz: Tensor, edge_hz: Tensor) -> Tensor:
    """Log-spectral distance of [B, K, samples] to [B, samples] from cutoff to edge, [B, K]."""
    hz = torch.arange(N_FFT // 2 + 1) * (48000 / N_FFT)
    mask = ((hz[None] >= cutoff_hz[:, None]) & (hz[None] <= edge_hz[:, None] - EDGE_MARGIN_HZ)).float()[:, :, None]
    true = power_spectrogram(truth).clamp_min(POWER_FLOOR).log10()
    count = mask.sum(1).clamp(min=1)
    made = (power_spectrogram(x).clamp_min(POWER_FLOOR).log10() for x in audio.unbind(1))
    return torch.stack([(((x - true) ** 2 * mask).sum(1) / count).sqrt().mean(-1) for x in made], dim=1)


@dataclass(frozen=True)
class EngineFile:
    """Weights of the built-in engine, and their checksum; `data` holds them where no file does."""

    path: Path
    checksum: str
    data: bytes = b""

    @classmethod
    def of(cls, path: Path) -> "EngineFile":
        """Raises OSError for a file that cannot be read."""
        return cls(path.absolute(), sha256(path))

    def here(self) -> bool:
        """Whether this machine has them."""
        return bool(self.data) or (self.path.is_file() and sha256(self.path) == self.checksum)

    def shipped(self) -> "EngineFile":
        """With their bytes."""
        return replace(self, data=self.path.read_bytes())

    def load(self) -> Engine:
        """The engine, on the processor."""
        if not self.data:
            return cast(Engine, load_file("cpu", self.path, None))
        with tempfile.NamedTemporaryFile(suffix=self.path.suffix) as file:
            file.write(self.data)
            file.flush()
            return cast(Engine, load_file("cpu", Path(file.name), None))


LOADED: dict[str, Engine] = {}
"""The engine that drew last in this process, by its checksum."""


@dataclass(frozen=True)
class BankPart:
    """The candidates of a batch, with what they are compared by.

    Attributes:
        count: candidates of a window.
        seed: of their noise.
        config: of the critic, whose views are kept.
    """

    engine: EngineFile
    batch: Batch
    count: int
    seed: int
    config: CriticConfig

    @property
    def source(self) -> Path:
        return self.engine.path

    @torch.no_grad()
    def __call__(self, place: Any = None) -> Any:
        """The part of a `Bank`, as a dictionary; `NotShared` on a machine that has not got the engine's weights."""
        if self.engine.checksum not in LOADED:
            if not self.engine.here():
                from ttsr_studio.farm.works import NotShared

                return NotShared()
            LOADED.clear()
            LOADED[self.engine.checksum] = self.engine.load()
        torch.set_float32_matmul_precision("high")
        batch, net = self.batch, CriticNetwork(self.config)
        audio = candidates(LOADED[self.engine.checksum], batch, self.count, self.seed)
        cutoff, edge = batch.cutoff_hz[:, 0], batch.edge_hz
        lr, true, views = batch.lr.half(), net.views(batch.hr).half(), net.views(audio).half()
        return asdict(Bank(lr, cutoff, edge, true, views, truth_distances(audio, batch.hr, cutoff, edge)))


@dataclass(frozen=True)
class BankSource:
    """What banks are drawn by, and where: see `BankPart`."""

    engine: EngineFile
    config: CriticConfig
    spread: WorkPlace = in_this_process


def make_bank(source: BankSource, pairs: Pairs, path: Path, plan: BankPlan) -> Bank:
    """Load the bank at `path`, or draw it; parts are kept, so a stopped call goes on."""
    if path.exists():
        return Bank(**torch.load(path, weights_only=True))
    parts = [path.with_name(f"{path.stem}-{step}.part") for step in range(-(-plan.windows // pairs.size))]
    missing = [step for step, part in enumerate(parts) if not part.exists()]

    def make(number: int) -> BankPart:
        seed = plan.first + missing[number]
        return BankPart(source.engine, pairs.batch(seed), plan.count, seed, source.config)

    def shipped(number: int) -> BankPart:
        return replace(make(number), engine=source.engine.shipped())

    drawn = source.spread(len(missing), make, shipped)
    for step, part in zip(missing, drawn, strict=True):
        torch.save(part, parts[step])
    stored = [torch.load(part, weights_only=True) for part in parts]
    whole = {name: torch.cat([part[name] for part in stored]) for name in stored[0]}
    torch.save(whole, path)
    for file in parts:
        file.unlink()
    return Bank(**whole)

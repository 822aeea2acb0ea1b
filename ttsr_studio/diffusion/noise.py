"""Addressed noise: a key regenerates its tensor on any device, at any batch size and in any order.

Noise is also addressed by position: the last axis is time, and the value at step t of a noise of
position p depends on (seed, group, lineage, tag, leading shape, p + t) only. Overlapping windows of one
file therefore share the noise of their overlap, and a windowed render equals an unwindowed one. numpy
has kept this stream since 1.17 without promising it, so a report that names keys names the numpy version.

Lineage is how a search names its candidates: moves applied one after the other to the window's own key.

- ("draw", i): an independent standard normal, numbered i >= 0.
- ("near", j, cosine): neighbour j >= 0 of the noise named so far, in the zero-order neighbourhood of Ma et
  al., "Inference-time scaling for diffusion models beyond scaling denoising steps" (2025).
- ("renoise", j, step, back): not a starting noise but a turn on the way: from where the run so far stands at that step
  of the sampling plan, noise j is added up to the level of the step `back`, at most `step`, and the run goes on.
- ("walk", j, step, eta): the same with a stochastic step from that step to the next (DDIM, eta above 0 to 1).
- ("ascend", j, cosine): the starting noise so far, turned towards where verifiers' scores rise; j numbers the positions
  of a search. It depends on those scores, so that a key alone does not give it: `ascended` makes it.

A neighbour keeps the norm of its parent over the whole window, so it belongs to that window: neighbours in
two overlapping windows share the draw of the direction, but their overlap is not bit for bit the same.
"""

import hashlib
import json
import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ttsr_studio.errors import OptionError, unknown

Move = tuple[str | int | float, ...]
BLOCK = 64
_THREADS = 8
MOVES = {
    "draw": "(index)",
    "near": "(index, cosine)",
    "renoise": "(index, step, step back)",
    "walk": "(index, step, eta)",
    "ascend": "(index, cosine)",
}
TURNS = ("renoise", "walk", "ascend")
"""Moves that a run or its scores have to come before; the others name where it starts."""


@dataclass(frozen=True)
class NoiseKey:
    """The address of one noise tensor.

    Attributes:
        seed: of the render.
        position: first step of the noise's time axis, absolute in the file; negative before its start.
        group: channel group; the channels of a stem share one, so that the stereo image holds.
        lineage: the moves that lead to this candidate; empty for the window itself.
    """

    seed: int
    position: int = 0
    group: int = 0
    lineage: tuple[Move, ...] = ()

    def child(self, *move: str | int | float) -> "NoiseKey":
        """Return the key one move further: `key.child("draw", 3)`, `key.child("near", 0, 0.99)`.

        Raises OptionError for an unknown move or wrong arguments.
        """
        _check(move)
        return replace(self, lineage=(*self.lineage, move))

    @property
    def origin(self) -> "NoiseKey":
        """The key of the noise that the run starts from: this one up to its first turn."""
        first = next((i for i, move in enumerate(self.lineage) if move[0] in TURNS), len(self.lineage))
        return replace(self, lineage=self.lineage[:first])

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads back exactly."""
        return {
            "seed": self.seed,
            "position": self.position,
            "group": self.group,
            "lineage": [list(move) for move in self.lineage],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "NoiseKey":
        """Read a key written by `to_json`. Raises OptionError for unknown fields or moves, or no seed."""
        fields = {"seed", "position", "group", "lineage"}
        for name in data:
            if name not in fields:
                raise unknown("field of a noise key", name, fields)
        if "seed" not in data:
            raise OptionError("a noise key needs its seed")
        key = cls(int(data["seed"]), int(data.get("position", 0)), int(data.get("group", 0)))
        for move in data.get("lineage", ()):
            key = key.child(*move)
        return key


def _check(move: Move) -> None:
    name = str(move[0]) if move else ""
    if name not in MOVES:
        raise unknown("noise move", name, (f"{known} {arguments}" for known, arguments in MOVES.items()))
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in move[1:])
    if len(move) != MOVES[name].count(",") + 2 or not numbers or not _sound(name, move[1:]):
        raise OptionError(
            f"bad noise move {move!r}: {name} takes {MOVES[name]}; index from 0, cosine from -1 to 1, "
            "a step back of at most the step, eta above 0 to 1"
        )


def _sound(name: str, values: tuple[Any, ...]) -> bool:
    whole = [isinstance(value, int) and value >= 0 for value in values]
    if name == "draw":
        return whole[0]
    if name in ("near", "ascend"):
        return whole[0] and -1.0 <= values[1] <= 1.0
    if name == "renoise":
        return all(whole) and values[2] <= values[1]
    return whole[0] and whole[1] and 0.0 < values[2] <= 1.0


def stride_to_cosine(stride: float) -> float:
    """Return the cosine of a step whose chord is `stride` (0 to 2) times the norm: c = 1 - stride²/2.

    Raises OptionError outside that range.
    """
    if not 0.0 <= stride <= 2.0:
        raise OptionError(f"stride {stride} is not between 0 and 2 (chord as a fraction of the noise's norm)")
    return 1.0 - stride * stride / 2.0


def cosine_to_stride(cosine: float) -> float:
    """Return the chord of a step as a fraction of the norm (0 to 2): sqrt(2 - 2c).

    Raises OptionError for a cosine outside -1 to 1.
    """
    if not -1.0 <= cosine <= 1.0:
        raise OptionError(f"cosine {cosine} is not between -1 and 1")
    return math.sqrt(2.0 - 2.0 * cosine)


def normal(key: NoiseKey, tag: str, shape: tuple[int, ...]) -> Tensor:
    """Return standard normal noise [*leading, time], float32 on the CPU.

    The tag separates uses of one key ("conditioning", "renoise 3"); different tags are independent. The
    lineage is only part of the address here: "near" moves nothing (see `draw`). Raises OptionError for an
    empty shape.
    """
    return torch.from_numpy(_normal(key, tag, tuple(shape)))


def _normal(key: NoiseKey, tag: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    if not shape:
        raise OptionError("noise needs at least one axis: the last one is time")
    *leading, length = shape
    first, last = key.position // BLOCK, (key.position + length - 1) // BLOCK
    blocks = [_block(key, tag, leading, index) for index in range(first, last + 1)]
    if not blocks:
        return np.zeros(shape, dtype=np.float32)
    blocks[-1] = blocks[-1][..., : key.position + length - last * BLOCK]
    blocks[0] = blocks[0][..., key.position - first * BLOCK :]
    return np.concatenate(blocks, axis=-1)


def _block(key: NoiseKey, tag: str, leading: list[int], index: int) -> NDArray[np.float32]:
    """Return the noise of the absolute steps [64 index, 64 (index + 1)), a stream of its own."""
    address = json.dumps([key.seed, key.group, key.lineage, tag, leading, index])
    digest = hashlib.blake2b(address.encode(), digest_size=16).digest()
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
    return generator.standard_normal((*leading, BLOCK), dtype=np.float32)


def draw(key: NoiseKey, shape: tuple[int, ...]) -> Tensor:
    """Return the noise [*leading, time] that a key's lineage names, float32 on the CPU.

    A last move ("draw", i), or an empty lineage, gives an independent standard normal. A last move
    ("near", j, cosine) gives a neighbour of the noise n that the lineage names without it:

        ‖n‖ (c·u + sqrt(1 - c²)·w),   u = n / ‖n‖,   w a random unit vector orthogonal to u.

    Norms are kept and everything is float64 until the end. The parameter c is a cosine: *larger means a
    smaller step*. A stride lambda, where a paper means the chord, is lambda = ‖n' - n‖ / ‖n‖ = sqrt(2 - 2c):
    a cosine of 0.99 is a stride of 0.141, 0.95 one of 0.316 (`cosine_to_stride`, `stride_to_cosine`).

    Raises OptionError for an unknown move, for a key whose last move is a turn (its noise is `normal(key, move)`), and
    for a neighbour of a noise with fewer than two elements.
    """
    if any(move[0] in TURNS for move in key.lineage):
        raise OptionError(f"noise key {key.lineage!r} is a way, not a starting noise: its start is `key.origin`")
    for move in key.lineage:
        _check(move)
    if not key.lineage or key.lineage[-1][0] != "near":
        return normal(key, "draw", shape)
    return torch.from_numpy(_point(key, tuple(shape)).astype(np.float32))


def draw_all(keys: Sequence[NoiseKey], shape: tuple[int, ...]) -> Tensor:
    """What `draw` gives for every key, [keys, *shape]; on as many threads as torch takes, of which eight are enough."""
    threads = min(_THREADS, torch.get_num_threads(), len(keys))
    if threads < 2:
        return torch.stack([draw(key, shape) for key in keys])
    with ThreadPoolExecutor(threads, thread_name_prefix="ttsr-noise") as pool:
        return torch.stack(list(pool.map(lambda key: draw(key, shape), keys)))


def _point(key: NoiseKey, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the noise of a checked key in float64, walking back to the nearest ancestor that is known."""
    descendants: list[NoiseKey] = []
    point = _POINTS.get(key, shape)
    while point is None and key.lineage and key.lineage[-1][0] == "near":
        descendants.append(key)
        key = replace(key, lineage=key.lineage[:-1])
        point = _POINTS.get(key, shape)
    if point is None:
        point = _normal(key, "draw", shape).astype(np.float64)
        _POINTS.put(key, shape, point)
    for neighbour in reversed(descendants):
        direction = _normal(neighbour, "near", shape).astype(np.float64)
        point = rotate(point, direction, float(neighbour.lineage[-1][2]))
        _POINTS.put(neighbour, shape, point)
    return point


def rotate(n: NDArray[np.float64], direction: NDArray[np.float64], cosine: float) -> NDArray[np.float64]:
    """Return the vector of n's norm at that cosine from n, towards `direction`. All float64."""
    if n.size < 2:
        raise OptionError("a neighbour needs noise of at least two elements")
    norm = np.linalg.norm(n)
    u = n / norm
    w = direction - np.sum(direction * u) * u
    w = w / np.linalg.norm(w)
    point: NDArray[np.float64] = norm * (cosine * u + math.sqrt(1.0 - cosine * cosine) * w)
    return point


def ascended(noise: Tensor, gradient: Tensor, cosine: float) -> Tensor:
    """Noise [*leading, time] turned towards a gradient of its shape, and noise still.

    A few directions, such as a rise of everything at once, would take all the norm of a noise if they could, and no
    draw looks like that. So the noise lies on many spheres, one for each octave of how fast it changes along every
    axis (`shells`), and keeps its norm on each. The one that a turn does most for is turned to that cosine, others by
    angles in proportion to what a turn does for them (steepest ascent). Where there is no gradient (0, or not finite)
    the noise stays as it is. It is the regularisation of Tang et al. (arXiv 2405.18881, section 3.2), which holds the
    norms of parts of the noise to what is likely, as a constraint.
    """
    if not bool(gradient.isfinite().all()):
        return noise
    axes = tuple(range(noise.ndim))
    point, slope = (np.fft.fftn(x.double().numpy(), axes=axes) for x in (noise, gradient))
    shell, size = shells(tuple(noise.shape)), int(np.prod(noise.shape))

    def summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.bincount(shell.ravel(), values.ravel()), np.float64)

    squares = summed(np.abs(point) ** 2)
    along = summed((slope * point.conj()).real) / np.maximum(squares, 1e-300)
    tangent = slope - along[shell] * point
    steep = np.sqrt(summed(np.abs(tangent) ** 2))
    gain = steep * np.sqrt(squares)
    if not gain.max() > 1e-12 * size * float(np.abs(slope).max(initial=0.0)) ** 2:
        return noise
    angle = math.acos(cosine) * gain / gain.max()
    forth = np.sin(angle) * np.sqrt(squares) / np.maximum(steep, 1e-300)
    turned = np.cos(angle)[shell] * point + forth[shell] * tangent
    return torch.from_numpy(np.fft.ifftn(turned, axes=axes).real).to(noise.dtype)


def shells(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Which shell every coefficient of a Fourier transform of that shape belongs to, numbers from 0."""
    shell = np.zeros(shape, np.int64)
    for axis, size in enumerate(shape):
        cycles = np.minimum(np.arange(size), size - np.arange(size))
        octave = np.floor(np.log2(np.maximum(cycles, 0.5))).astype(np.int64) + 1
        shell = shell * (int(octave.max()) + 1) + octave.reshape(-1, *(1,) * (len(shape) - axis - 1))
    return shell


class _Points:
    """The most recently used noises, so that a step from the end of a long lineage costs one step."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._points: OrderedDict[tuple[NoiseKey, tuple[int, ...]], NDArray[np.float64]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: NoiseKey, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
        with self._lock:
            point = self._points.get((key, shape))
            if point is not None:
                self._points.move_to_end((key, shape))
            return point

    def put(self, key: NoiseKey, shape: tuple[int, ...], point: NDArray[np.float64]) -> None:
        with self._lock:
            self._points[(key, shape)] = point
            while len(self._points) > self._size:
                self._points.popitem(last=False)


_POINTS = _Points(32)


def renoise(x: Tensor, sigma_from: float, sigma_to: float, eps: Tensor) -> Tensor:
    """Return x [...] at noise level sigma_from taken up to sigma_to, in EDM coordinates (x = x0 + sigma·eps).

    x + sqrt(t² - s²) eps: the general (a_t/a_s) x + sqrt(σ_t² - (a_t/a_s)² σ_s²) eps with a = 1. `eps` is
    standard normal of x's shape. Raises OptionError unless 0 <= sigma_from <= sigma_to.
    """
    if not 0.0 <= sigma_from <= sigma_to:
        raise OptionError(f"cannot re-noise from sigma {sigma_from} to {sigma_to}: the level can only rise")
    return x + math.sqrt((sigma_to - sigma_from) * (sigma_to + sigma_from)) * eps

"""Compact training shards: hours of audio in files of at most 60 MiB, for a machine that is reached over a slow line.

`python -m ttsr_studio.training.shards OUT DATA…` packs the clips of manifests. A clip is its MDCT (hop 256, sine
window; Princen and Bradley 1986), quantised at a constant ratio of signal to noise (about 11 dB) in every band of
750 Hz and frame of 5.3 ms: about 12 kB a second. Unlike a listener's codec it leaves no holes and keeps the energy of
bands that nobody would hear, which is what the networks here learn. Not for listening.
"""

import json
import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ttsr_studio.audio.level import active_rms
from ttsr_studio.errors import InputError
from ttsr_studio.training.command import command, existing_folder, new_folder, one_line
from ttsr_studio.training.data import RATE, TrainingClip, channels, held_out, load_clips, manifest

HOP = 256
BAND = 8
"""Coefficients that share a scale."""

STEP_DB = 3.0
LOWEST_DB = -105.0
"""Scales: root mean square of a band's coefficients in steps of 3 dB; what is below the lowest is silence."""

LARGEST = 12
"""Of a quantised coefficient, in units of its band's scale."""

SHARD_BYTES = 58 * 2**20


@dataclass(frozen=True)
class ShardEntry:
    """One channel of a clip: where it lies in its shard, and what training wants to know of it.

    Attributes:
        kind: speech, music or sfx.
        group: speaker, track or instrument, by which clips are held out.
        edge_hz: above this the clip holds nothing.
        frames: of the MDCT, 256 samples each.
        offset, size: bytes in the shard.
    """

    kind: str
    group: str
    edge_hz: float
    frames: int
    offset: int
    size: int


def basis() -> Tensor:
    """MDCT basis with its sine window, [256, 512], orthonormal under overlap-add."""
    n = torch.arange(2 * HOP, dtype=torch.float64)
    k = torch.arange(HOP, dtype=torch.float64)
    window = torch.sin(torch.pi / (2 * HOP) * (n + 0.5))
    cosine = torch.cos(torch.pi / HOP * (n[None] + 0.5 + HOP / 2) * (k[:, None] + 0.5))
    basis: Tensor = (cosine * window * (2 / HOP) ** 0.5).float()
    return basis


def forward(audio: Tensor) -> Tensor:
    """Audio [samples] -> coefficients [samples / 256 rounded up + 1, 256]."""
    frames = -(-audio.shape[-1] // HOP) + 1
    padded = torch.nn.functional.pad(audio, (HOP, (frames - 1) * HOP + HOP - audio.shape[-1]))
    return padded.unfold(0, 2 * HOP, HOP) @ basis().T


def inverse(coefficients: Tensor) -> Tensor:
    """Coefficients [frames, 256] -> audio [(frames - 1) * 256]."""
    parts = coefficients @ basis().to(coefficients.device)
    return (parts[1:, :HOP] + parts[:-1, HOP:]).reshape(-1)


def pack(audio: Tensor) -> bytes:
    """Audio [samples] of full scale 1 -> bytes."""
    bands = forward(audio).unflatten(1, (-1, BAND))
    level = 10 * (bands.square().mean(2) + 1e-30).log10()
    scale = ((level - LOWEST_DB) / STEP_DB).round().clamp(0, 50)
    size = 10 ** ((scale * STEP_DB + LOWEST_DB) / 20)
    steps = (bands / size[..., None]).round().clamp(-LARGEST, LARGEST) * (scale > 0)[..., None]
    scales = np.diff(scale.numpy().astype(np.int8), axis=0, prepend=np.int8(0))
    whole = np.concatenate([scales.T.reshape(-1), steps.numpy().astype(np.int8).reshape(-1)])
    packer = zlib.compressobj(6, strategy=zlib.Z_HUFFMAN_ONLY)
    # Two streams: what is rare in one is common in the other.
    first = packer.compress(whole[: scales.size].tobytes()) + packer.flush()
    packer = zlib.compressobj(6, strategy=zlib.Z_HUFFMAN_ONLY)
    second = packer.compress(whole[scales.size :].tobytes()) + packer.flush()
    return len(first).to_bytes(4, "little") + first + second


def unpack(data: bytes, frames: int, device: torch.device) -> Tensor:
    """What `pack` made -> audio [(frames - 1) * 256], float32 on the device."""
    count = int.from_bytes(data[:4], "little")
    deltas = np.frombuffer(zlib.decompress(data[4 : 4 + count]), np.int8).reshape(HOP // BAND, frames)
    steps = np.frombuffer(zlib.decompress(data[4 + count :]), np.int8).reshape(frames, HOP // BAND, BAND)
    scale = torch.from_numpy(deltas.astype(np.int16).cumsum(1, dtype=np.int16).T.copy()).to(device).float()
    size = 10 ** ((scale * STEP_DB + LOWEST_DB) / 20)
    return inverse((torch.from_numpy(steps.copy()).to(device).float() * size[..., None]).flatten(1))


def write_shards(folders: list[Path], out: Path) -> Iterator[Path]:
    """Pack the training clips of folders with a manifest.csv, shuffled; yields each shard as it is written.

    Raises InputError for a clip that is not at 48 kHz or may not be trained on.
    """
    import soundfile  # A machine that trains on shards needs no codecs.

    rows = [row for folder in folders for row in manifest(folder)]
    order = np.random.default_rng(0).permutation(len(rows))
    out.mkdir(parents=True, exist_ok=True)
    entries: list[ShardEntry] = []
    body = bytearray()
    number = 0
    for place, i in enumerate(order):
        path, row, edge = rows[i]
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
        if rate != RATE:
            raise InputError(f"{path}: {rate} Hz; training clips are at 48 kHz")
        peak = float(np.abs(audio).max())
        for channel in channels(audio):
            # At one level, so that the lowest scale means the same for all.
            data = pack(torch.from_numpy(channel * np.float32(0.9 / max(peak, 1e-4))))
            frames = -(-channel.size // HOP) + 1
            entries.append(ShardEntry(row["kind"], row["speaker_or_class"], edge, frames, len(body), len(data)))
            body += data
        if len(body) > SHARD_BYTES or place == len(order) - 1:
            path = out / f"shard{number:02d}.bin"
            header = json.dumps([asdict(entry) for entry in entries]).encode()
            packed = zlib.compress(header)
            path.write_bytes(len(packed).to_bytes(4, "little") + packed + bytes(body))
            yield path
            entries, body, number = [], bytearray(), number + 1


def read_shard(path: Path, validation: bool) -> list[TrainingClip]:
    """Clips of a shard that belong to the training or to the validation part."""
    data = path.read_bytes()
    count = int.from_bytes(data[:4], "little")

    def clip(entry: ShardEntry) -> TrainingClip:
        start = 4 + count + entry.offset
        audio = unpack(data[start : start + entry.size], entry.frames, torch.device("cpu"))
        rms = active_rms(audio[None].numpy(), RATE)
        short = (audio * 32767).round().clamp(-32768, 32767).to(torch.int16)
        return TrainingClip(short, entry.kind, entry.group, entry.edge_hz, rms)

    entries = [ShardEntry(**fields) for fields in json.loads(zlib.decompress(data[4 : 4 + count]))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(clip, (entry for entry in entries if held_out(entry.group) == validation)))


def load_shards(sources: Sequence[Path], validation: bool) -> list[TrainingClip]:
    """Clips of folders with a manifest.csv, and of shards (files, or folders of shard*.bin).

    Raises InputError as `load_clips` does, and for a folder that holds neither.
    """
    clips: list[TrainingClip] = []
    for source in sources:
        if (source / "manifest.csv").exists():
            clips += load_clips(source, validation)
            continue
        shards = sorted(source.glob("shard*.bin")) if source.is_dir() else [source]
        if not shards:
            raise InputError(f"{source}: neither a manifest.csv nor shards in it")
        for shard in shards:
            clips += read_shard(shard, validation)
    return clips


@one_line()
def main(arguments: Sequence[str] | None = None) -> None:
    """Pack the clips of folders with a manifest.csv into shards of at most 60 MiB."""
    parser = command("shards", "Pack the clips of DATA into shards of at most 60 MiB in OUT.")
    parser.add_argument("out", type=new_folder)
    parser.add_argument("data", nargs="+", type=existing_folder, help="folders with manifest.csv")
    given = parser.parse_intermixed_args(arguments)
    for path in write_shards(given.data, given.out):
        print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB", flush=True)


if __name__ == "__main__":
    main()

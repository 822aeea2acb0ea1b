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

from ttsr_studio.audio.level import active_rms
from ttsr_studio.errors import InputError
from ttsr_studio.training.command import command, existing_folder, new_folder, one_line
from ttsr_studio.training.data import RATE, TrainingClip, held_out, load_clips, manifest
from ttsr_studio.training.packing import PackClip, unpack
from ttsr_studio.training.spread import WorkPlace, add_farm, in_this_process, where_to_work

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


def write_shards(folders: list[Path], out: Path, spread: WorkPlace = in_this_process) -> Iterator[Path]:
    """Pack the training clips of folders with a manifest.csv, shuffled; yields each shard as it is written.

    Args:
        spread: where clips are packed; the shards are the same wherever.

    Raises InputError for a clip that is not at 48 kHz or may not be trained on.
    """
    rows = [row for folder in folders for row in manifest(folder)]
    order = np.random.default_rng(0).permutation(len(rows))
    out.mkdir(parents=True, exist_ok=True)
    entries: list[ShardEntry] = []
    body = bytearray()
    number = 0

    def make(place: int) -> PackClip:
        return PackClip.of(rows[order[place]][0])

    for place, packed_channels in enumerate(spread(len(order), make, make)):
        _, row, edge = rows[order[place]]
        for frames, data in packed_channels:
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
    add_farm(parser, "packs clips")
    given = parser.parse_intermixed_args(arguments)
    with where_to_work(given) as spread:
        for path in write_shards(given.data, given.out, spread):
            print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB", flush=True)


if __name__ == "__main__":
    main()

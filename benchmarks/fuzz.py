"""Break the headers of small audio files and read them as the tool does: `python benchmarks/fuzz.py --count 2000`.

Files of containers that FFmpeg reads are made and decoded as `fuzz_media.py` says: `--formats mp4,m4a,mov,mkv,webm`.

Every file must be refused with one line, or give exactly the samples that were announced, all of them finite.
Anything else (another exception, a crash, a hang, too much memory) is a finding, and its bytes are kept.
"""

import contextlib
import functools
import io
import multiprocessing
import os
import resource
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Self

import click
import fuzz_media
import numpy as np
import soundfile as sf

from ttsr_studio.audio.decode import probe, read_blocks
from ttsr_studio.errors import TtsrError

SECONDS = 10.0
MEMORY = 2 << 30
HEAD = 600  # bytes that are called the header
MP3_SLACK = 2 * 1152  # two frames, which headers of MP3 may count too much
SUBTYPES = {
    "wav": ("PCM_16", "PCM_24", "PCM_U8", "FLOAT", "DOUBLE", "MS_ADPCM", "IMA_ADPCM", "ALAW", "GSM610"),
    "wavex": ("PCM_24", "FLOAT"),
    "rf64": ("PCM_16", "PCM_24", "FLOAT"),
    "aiff": ("PCM_16", "PCM_24", "FLOAT", "PCM_S8", "IMA_ADPCM"),
    "flac": ("PCM_16", "PCM_24"),
    "ogg": ("VORBIS", "OPUS"),
    "mp3": ("MPEG_LAYER_III",),
    "w64": ("PCM_16", "PCM_24"),
    "caf": ("PCM_16", "PCM_24", "ALAC_16"),
}
KINDS = (*SUBTYPES, *fuzz_media.CODECS)
EXTREMES = (0, 1, 2, 7, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, *range(0xFFFFFFF0, 2**32))
WAV_NAMES = (b"fmt ", b"data", b"LIST", b"INFO", b"bext", b"cue ", b"smpl", b"fact", b"PEAK", b"ds64", b"IART", b"ISRF")
OTHER_NAMES = (
    b"labl",
    b"COMM",
    b"SSND",
    b"NAME",
    b"AUTH",
    b"ANNO",
    b"FVER",
    b"desc",
    b"kuki",
    b"pakt",
    b"OggS",
    b"fLaC",
)

Rng = np.random.Generator
Mutation = Callable[[bytearray, Rng], None]


# making


@functools.cache
def valid_file(kind: str, subtype: str, channels: int) -> bytes:
    """A quarter of a second of noise, with texts where the format has them."""
    if kind in fuzz_media.CODECS:
        return fuzz_media.media_file(kind, subtype, channels)
    noise = np.random.default_rng(0).standard_normal((9000 if kind in ("flac", "ogg", "mp3") else 2000, channels)) * 0.1
    file = io.BytesIO()
    with sf.SoundFile(file, "w", 8000, channels, subtype, format=kind.upper()) as writer:
        if kind not in ("caf", "w64"):
            writer.title, writer.artist, writer.comment = "a title", "somebody", "odd"
        writer.write(noise)
    data = file.getvalue()
    return with_chunks(data) if kind == "wav" else data


def with_chunks(data: bytes) -> bytes:
    """A WAV file with the chunks of a broadcast recorder and a sampler before and behind its audio."""
    extra = chunk(b"bext", bytes(602)) + chunk(b"LIST", b"INFO" + chunk(b"IART", b"somebody") + chunk(b"ISRF", b"tape"))
    tail = chunk(b"cue ", struct.pack("<I", 1) + bytes(24)) + chunk(b"smpl", bytes(60))
    at = data.index(b"data")
    return data[:12] + extra + data[12:at] + tail + data[at:] + chunk(b"LIST", b"adtl" + chunk(b"labl", bytes(8)))


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


# breaking


def place(data: bytearray, rng: Rng) -> int:
    """A place in the file, mostly in its header."""
    return int(rng.integers(max(1, min(len(data), head_of(data)) if rng.random() < 0.8 else len(data))))


def head_of(data: bytearray) -> int:
    """Bytes before the audio of a file of boxes or of Matroska, a usual number for others."""
    audio = max(data.find(b"mdat"), data.find(b"\x1f\x43\xb6\x75"))
    return audio + 16 if audio > 0 else HEAD


def flip_bits(data: bytearray, rng: Rng) -> None:
    for _ in range(rng.integers(1, 9)):
        data[place(data, rng)] ^= 1 << int(rng.integers(8))


def set_extreme(data: bytearray, rng: Rng) -> None:
    """Set a field of 2, 4 or 8 bytes to a value that few programs expect."""
    width = int(rng.choice([2, 4, 4, 4, 8]))
    value = int(rng.choice(EXTREMES)) if width < 8 or rng.random() < 0.5 else 2**63 - 1
    order = "little" if rng.random() < 0.6 else "big"
    at = place(data, rng)
    data[at : at + width] = (value % 256**width).to_bytes(width, order)


def set_size(data: bytearray, rng: Rng) -> None:
    """Set the size field of a chunk to an extreme, or to a little more or less than it should be."""
    if not (starts := chunk_starts(data)):
        return set_extreme(data, rng)
    skip, field = {b"FORM": (4, ">I"), b"caff": (4, ">Q"), b"riff": (16, "<Q")}.get(bytes(data[:4]), (4, "<I"))
    if is_media(data):
        skip, field = (4, ">Q") if data[:4] == b"\x1a\x45\xdf\xa3" else (-4, ">I")
    at, width = max(int(rng.choice(starts)) + skip, 0), struct.calcsize(field)
    said = struct.unpack(field, data[at : at + width].ljust(width, b"\0"))[0]
    value = int(rng.choice(EXTREMES)) if rng.random() < 0.6 else said + int(rng.integers(-9, 10))
    data[at : at + width] = struct.pack(field, value % 256**width)
    return None


def splice(data: bytearray, rng: Rng) -> None:
    """Copy some bytes over others, put them in, or take them out."""
    start, length = place(data, rng), int(rng.integers(1, 64))
    at, kind = place(data, rng), rng.integers(3)
    data[at : at + (0 if kind == 1 else length)] = b"" if kind == 2 else data[start : start + length]


def noise_bytes(data: bytearray, rng: Rng) -> None:
    at = place(data, rng)
    data[at : at + int(rng.integers(1, 16))] = rng.bytes(int(rng.integers(1, 16)))


def truncate(data: bytearray, rng: Rng) -> None:
    del data[int(rng.integers(len(data) + 1)) if rng.random() < 0.5 else place(data, rng) :]


def reorder(data: bytearray, rng: Rng) -> None:
    """Swap two chunks, or give one twice."""
    starts = chunk_starts(data)
    if len(starts) < 2:
        return splice(data, rng)
    parts = [bytes(data[a:b]) for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]
    first, second = rng.integers(len(parts), size=2)
    if rng.random() < 0.5:
        parts[first], parts[second] = parts[second], parts[first]
    else:
        parts.insert(int(first), parts[second])
    data[starts[0] :] = b"".join(parts)
    return None


def chunk_starts(data: bytearray) -> list[int]:
    """Where the chunks of a file seem to begin."""
    if is_media(data):
        names = fuzz_media.ELEMENTS if data[:4] == b"\x1a\x45\xdf\xa3" else fuzz_media.BOXES
        return [found.start() for found in names.finditer(data)]
    return sorted(at for name in WAV_NAMES + OTHER_NAMES if (at := data.find(name)) >= 0)


def is_media(data: bytearray) -> bool:
    """Whether a file is of boxes, or of Matroska."""
    return data[4:8] == b"ftyp" or data[:4] == b"\x1a\x45\xdf\xa3"


def ogg_checksum(page: bytearray) -> int:
    """The checksum of an Ogg page whose own field is zero (RFC 3533, section 6)."""
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 * (value >> 31)) & 0xFFFFFFFF
    return value


def mend_pages(data: bytearray) -> None:
    """Set the checksums of an Ogg file's pages, without which nothing that is broken is decoded."""
    at = data.find(b"OggS")
    while 0 <= at <= len(data) - 27:
        lacing = data[at + 27 : at + 27 + data[at + 26]]
        end = at + 27 + len(lacing) + sum(lacing)
        data[at + 22 : at + 26] = bytes(4)
        data[at + 22 : at + 26] = struct.pack("<I", ogg_checksum(data[at:end]))
        at = data.find(b"OggS", end)


MUTATIONS: tuple[Mutation, ...] = (flip_bits, set_extreme, set_size, set_size, splice, noise_bytes, truncate, reorder)


@dataclass(frozen=True)
class Broken:
    """A broken file.

    ``least`` is how many samples it must give when it is read without salvage and not refused; with fewer than
    ``noted`` there must be a note.
    """

    kind: str
    data: bytes
    least: int
    noted: int = 0


def break_one(kind: str, rng: Rng) -> Broken:
    subtype = str(rng.choice(fuzz_media.CODECS[kind] if kind in fuzz_media.CODECS else SUBTYPES[kind]))
    channels = 1 if subtype in ("GSM610", "IMA_ADPCM") else int(rng.integers(1, 3))
    whole = valid_file(kind, subtype, channels)
    data = bytearray(whole)
    chosen = [MUTATIONS[i] for i in rng.integers(len(MUTATIONS), size=rng.integers(1, 4))]
    for mutation in chosen:
        if data:
            mutation(data, rng)
    if kind == "ogg" and rng.random() < 0.7:
        mend_pages(data)
    media = kind in fuzz_media.CODECS
    frames = fuzz_media.FRAMES if media else sf.info(io.BytesIO(whole)).frames - (MP3_SLACK if kind == "mp3" else 0)
    return Broken(kind, bytes(data), frames if set(chosen) == {truncate} else 0, frames // 2 if media else 0)


def mutants(count: int, seed: int, kinds: tuple[str, ...]) -> Iterator[Broken]:
    """Yield broken files; the same ones for the same seed and kinds."""
    for number in range(count):
        yield break_one(kinds[number % len(kinds)], np.random.default_rng((seed, number)))


# reading


def verdict(path: Path, salvage: bool, least: int = 0, noted: int = 0) -> str:
    """Read a file as the tool does: "refused" or "read" (at least so many samples), or what went wrong."""
    try:
        info = probe(path, salvage)
        done = 0
        for block in read_blocks(info, salvage=salvage):
            if block.shape[0] != info.channels or block.dtype != np.float32 or not np.isfinite(block).all():
                return f"bad block: {block.shape} {block.dtype}"
            done += block.shape[1]
    except TtsrError as error:
        text = str(error)
        return "refused" if text.isprintable() and len(text) < 500 else f"bad message: {text!r}"
    except MemoryError:
        return "memory"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if done < noted and not info.warnings:
        return f"{done} samples, no note"
    return "read" if done == info.frames >= max(least, 1) else f"{done} of {least or info.frames} samples, no error"


def serve(pipe: Connection, folder: str) -> None:
    """A child: read what comes through the pipe, strictly and with salvage, within its memory, until it is killed."""
    with contextlib.suppress(ValueError, OSError):  # not every system knows this limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for stream in (1, 2):  # decoders grumble
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    fuzz_media.fork_decoders()
    path = Path(folder) / "broken.bin"
    pipe.send("ready")
    while True:
        broken = pipe.recv()
        path.write_bytes(broken.data)
        pipe.send((verdict(path, False, broken.least, broken.noted), verdict(path, True)))


class Reader:
    """A child process that reads broken files; it is started again when it dies or hangs."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._folder = tempfile.TemporaryDirectory()
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, self._folder.name), daemon=True)
        self.process.start()
        theirs.close()
        self._pipe.recv()

    def read(self, broken: Broken) -> tuple[str, str]:
        """Return the verdicts without and with salvage; a hang or a crash is both."""
        try:
            self._pipe.send(broken)
            if self._pipe.poll(self.seconds):
                return self._pipe.recv()
            wrong = f"hang: more than {self.seconds:g} s"
        except (EOFError, ConnectionError):
            self.process.join()
            wrong = f"crash: exit code {self.process.exitcode}"
        self._stop()
        self._start()
        return wrong, wrong

    def _stop(self) -> None:
        self.process.kill()
        self.process.join()
        self._pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()
        self._folder.cleanup()


def fuzz(count: int, seed: int, kinds: tuple[str, ...]) -> Iterator[tuple[Broken, tuple[str, str]]]:
    """Yield broken files and their verdicts without and with salvage."""
    with Reader() as reader:
        for broken in mutants(count, seed, kinds):
            yield broken, reader.read(broken)


def finding(verdicts: tuple[str, str]) -> str | None:
    """Return what went wrong with a file, or None."""
    return next((found for found in verdicts if found not in ("read", "refused")), None)


def row(kind: str, counts: Counter[str]) -> str:
    cells = [kind, *(str(counts[name]) for name in ("files", "read", "salvaged", "refused", "findings"))]
    return f"| {' | '.join(cells)} |"


def kind_names(_ctx: click.Context, _parameter: click.Parameter, value: str) -> tuple[str, ...]:
    kinds = tuple(value.split(","))
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise click.BadParameter(f"unknown: {', '.join(unknown)}; known: {', '.join(KINDS)}")
    return kinds


@click.command()
@click.option("--count", default=2000, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--formats", "kinds", default=",".join(KINDS), show_default=True, callback=kind_names)
@click.option("--keep", default=Path("runs/fuzz"), show_default=True, type=click.Path(path_type=Path))
def main(count: int, seed: int, kinds: tuple[str, ...], keep: Path) -> None:
    """Print a Markdown table; exit code 1 when there are findings, whose bytes are put into --keep."""
    began = time.perf_counter()
    counts = {kind: Counter[str]() for kind in (*kinds, "all")}
    for number, (broken, verdicts) in enumerate(fuzz(count, seed, kinds)):
        wrong = finding(verdicts)
        saved = "salvaged" if verdicts == ("refused", "read") else verdicts[0]
        for counter in (counts[broken.kind], counts["all"]):
            counter.update(("files", "findings" if wrong else saved))
        if wrong:
            keep.mkdir(parents=True, exist_ok=True)
            path = keep / f"{seed}_{number}.{broken.kind}"
            path.write_bytes(broken.data)
            click.echo(f"{path}: {wrong}")
    click.echo("| format | files | read | only with --salvage | refused | findings |\n|---|---|---|---|---|---|")
    click.echo("\n".join(row(kind, counter) for kind, counter in counts.items()))
    click.echo(f"{time.perf_counter() - began:.0f} s")
    raise SystemExit(1 if counts["all"]["findings"] else 0)


if __name__ == "__main__":
    main()

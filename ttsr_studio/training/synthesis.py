"""Make music to train on: `python -m ttsr_studio.training.synthesis FOLDER`.

Random phrases, from one instrument to a band with drums, are written as MIDI and rendered at 48 kHz by fluidsynth with
a General MIDI sound font (FluidR3, MIT licence). Stems and full mixes of that variety are scarce among freely licensed
recordings. The folder gets a manifest.csv as `train` reads it. Training material only, never evaluation: the
instruments recur.
"""

import csv
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from shutil import which

import mido
import numpy as np
import soundfile

from ttsr_studio.errors import MissingError
from ttsr_studio.training.command import command, existing_file, new_folder, one_line

RATE = 48000
EDGE_HZ = 21500
"""The font's samples were recorded at 44.1 kHz."""

BEAT = 480
"""MIDI ticks."""

SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 9, 10), (0, 3, 5, 6, 7, 10))
CHANGES = ((0, 3, 4, 0), (0, 5, 3, 4), (0, 4, 5, 3), (1, 4, 0, 5), (0, 6, 5, 4), (0, 0, 3, 3))
BASSES = tuple(range(32, 40))
CHORDS = (*range(0, 8), *range(16, 32), *range(46, 55), *range(80, 104))
LEADS = (*range(8, 16), *range(22, 32), *range(40, 47), *range(52, 84), *range(104, 112))
STRUCK = (*range(8, 16), 45, 47, 108, *range(112, 120))
KITS = (0, 8, 16, 24, 25, 32, 40, 48)
DRUM_PARTS = {36: 0.35, 38: 0.25, 42: 0.6, 46: 0.12, 49: 0.06, 51: 0.2, 39: 0.1, 45: 0.1, 70: 0.2, 54: 0.12}
"""Chance of a hit on a step, by drum."""


@dataclass(frozen=True)
class Note:
    """start and length in beats; velocity 1 to 127."""

    start: float
    length: float
    pitch: int
    velocity: int


@dataclass(frozen=True)
class SongFrame:
    """What the parts of a piece share: root pitch, scale, chord roots as scale degrees, length in beats."""

    root: int
    scale: tuple[int, ...]
    chords: tuple[int, ...]
    beats: int

    def pitch(self, degree: int) -> int:
        octave, step = divmod(degree, len(self.scale))
        return self.root + 12 * octave + self.scale[step]

    def grid(self, length: float) -> list[float]:
        """Starts of notes that follow one another, in beats."""
        return np.arange(0, self.beats, length).tolist()

    def chord(self, beat: float) -> int:
        return self.chords[int(beat // 4) % len(self.chords)]


def velocity(rng: np.random.Generator, level: int) -> int:
    return int(np.clip(level + rng.normal(0, 12), 20, 127))


def drums(rng: np.random.Generator, frame: SongFrame) -> list[Note]:
    """A pattern of one or two bars on a grid of 8ths or 16ths, with changes."""
    grid = int(rng.choice([2, 4, 4]))
    steps = grid * 4 * int(rng.integers(1, 3))
    pattern = {pitch: rng.random(steps) < share * rng.uniform(0.3, 1.6) for pitch, share in DRUM_PARTS.items()}
    pattern[36][0] = True
    pattern[38][grid :: 2 * grid] |= rng.random() < 0.7
    level = int(rng.integers(60, 115))
    return [
        Note(step / grid + rng.normal(0, 0.008), 0.2, pitch, velocity(rng, level))
        for step in range(frame.beats * grid)
        for pitch, hits in pattern.items()
        if hits[step % steps] ^ (rng.random() < 0.03)
    ]


def bass(rng: np.random.Generator, frame: SongFrame) -> list[Note]:
    length = float(rng.choice([0.5, 1, 1, 2]))
    jumps = rng.choice([0, 0, 0, 2, 4, 7], size=8).tolist()
    pitches = [frame.pitch(frame.chord(beat) + jumps[i % 8]) - 24 for i, beat in enumerate(frame.grid(length))]
    return [
        Note(beat, length * rng.uniform(0.4, 1), pitch, velocity(rng, 95))
        for beat, pitch in zip(frame.grid(length), pitches, strict=True)
        if rng.random() < 0.9
    ]


def chords(rng: np.random.Generator, frame: SongFrame) -> list[Note]:
    """Block or broken chords."""
    length = float(rng.choice([0.5, 1, 2, 4]))
    broken = rng.uniform(0.05, 0.5) if rng.random() < 0.4 else rng.uniform(0, 0.03)
    size, loud = int(rng.integers(3, 6)), int(rng.integers(55, 105))
    return [
        Note(
            beat + i * broken, length * rng.uniform(0.5, 1), frame.pitch(frame.chord(beat) + 2 * i), velocity(rng, loud)
        )
        for beat in frame.grid(length)
        if rng.random() < 0.9
        for i in range(size)
    ]


def lead(rng: np.random.Generator, frame: SongFrame) -> list[Note]:
    """A melody by random walk over the scale, with rests."""
    degree, beat, notes = int(rng.integers(-3, 10)), 0.0, []
    lengths = rng.choice([0.25, 0.5, 0.5, 1, 1, 2, 4], size=3)
    shift, level = 12 * int(rng.integers(-1, 2)), int(rng.integers(60, 120))
    while beat < frame.beats:
        length = float(rng.choice(lengths))
        if rng.random() < 0.85:
            pitch = int(np.clip(frame.pitch(degree) + shift, 24, 103))
            notes.append(Note(beat, length * rng.uniform(0.3, 1.05), pitch, velocity(rng, level)))
        degree = int(np.clip(degree + rng.integers(-3, 4), -7, 14))
        beat += length
    return notes


def track(rng: np.random.Generator, channel: int, program: int, notes: list[Note]) -> mido.MidiTrack:
    """Notes on a channel, with its level, place, reverb and chorus."""
    settings = {7: rng.integers(60, 127), 10: rng.integers(20, 108), 91: rng.integers(0, 90), 93: rng.integers(0, 50)}
    messages = [mido.Message("program_change", channel=channel, program=program)]
    messages += [mido.Message("control_change", channel=channel, control=c, value=int(v)) for c, v in settings.items()]
    events = []
    for note in notes:
        start = max(round(note.start * BEAT), 0)
        events.append((start, "note_on", note))
        events.append((start + max(round(note.length * BEAT), 20), "note_off", note))
    now = 0
    for time, name, note in sorted(events, key=lambda event: (event[0], event[1] == "note_on")):
        messages.append(
            mido.Message(
                name, channel=channel, note=int(np.clip(note.pitch, 0, 127)), velocity=note.velocity, time=time - now
            )
        )
        now = time
    return mido.MidiTrack(messages)


def piece(rng: np.random.Generator, seconds: float) -> tuple[mido.MidiFile, str]:
    """A random piece and what it is: solo, drums, duo or band."""
    tempo = rng.uniform(60, 180)
    frame = SongFrame(
        int(rng.integers(48, 66)),
        SCALES[rng.integers(len(SCALES))],
        CHANGES[rng.integers(len(CHANGES))],
        int(np.ceil(seconds * tempo / 60)),
    )
    style = str(rng.choice(["solo", "struck", "drums", "duo", "band"], p=[0.3, 0.08, 0.12, 0.1, 0.4]))
    file = mido.MidiFile(ticks_per_beat=BEAT)
    file.tracks.append(mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo))]))
    makers = {"bass": (bass, BASSES), "chords": (chords, CHORDS), "lead": (lead, LEADS), "struck": (lead, STRUCK)}
    parts = {
        "solo": [str(rng.choice(["bass", "chords", "lead", "lead"]))],
        "struck": ["struck"],
        "drums": [],
        "duo": ["chords", "lead"],
        "band": ["bass", "chords", *(["chords"] * int(rng.integers(2))), *(["lead"] * int(rng.integers(3)))],
    }[style]
    for channel, part in enumerate(parts):
        make, programs = makers[part]
        file.tracks.append(track(rng, channel, int(rng.choice(programs)), make(rng, frame)))
    if style == "drums" or (style == "band" and rng.random() < 0.85):
        file.tracks.append(track(rng, 9, int(rng.choice(KITS)), drums(rng, frame)))
    return file, style


def play(file: mido.MidiFile, font: Path, output: Path, seconds: float, effects: bool) -> None:
    """Render MIDI to a 16-bit FLAC at 48 kHz, peaking at -1 dBFS.

    Raises CalledProcessError when fluidsynth fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        score, wave = Path(folder) / "score.mid", Path(folder) / "wave.wav"
        file.save(score)
        switch = str(int(effects))
        command = ["fluidsynth", "-ni", "-q", "-g", "0.4", "-r", str(RATE), "-R", switch, "-C", switch]
        subprocess.run([*command, "-O", "float", "-T", "wav", "-F", wave, font, score], check=True, capture_output=True)
        audio, _ = soundfile.read(wave, frames=round(seconds * RATE), dtype="float32", always_2d=True)
    peak = float(np.abs(audio).max())
    soundfile.write(output, audio * (0.89 / max(peak, 1e-3)), RATE, subtype="PCM_16")


def make_music(folder: Path, pieces: int, seconds: float, seed: int, workers: int, font: Path) -> None:
    """Render random pieces into a folder, with a manifest.csv; pieces that are there already are kept.

    Raises MissingError without fluidsynth.
    """
    if which("fluidsynth") is None:
        raise MissingError("fluidsynth is not installed; Debian has it as `fluidsynth`")
    (folder / "music").mkdir(parents=True, exist_ok=True)

    def make(index: int) -> dict[str, object]:
        rng = np.random.default_rng((seed, index))
        name = f"music/piece_{seed}_{index:04d}.flac"
        file, style = piece(rng, seconds)
        effects = bool(rng.random() < 0.6)
        if not (folder / name).exists():
            play(file, font, folder / name, seconds, effects)
        return {
            "file": name,
            "kind": "music",
            "eval_only": "",
            "licence": "MIT",
            "attribution": f"rendered with the sound font {font.name}",
            "speaker_or_class": f"{font.stem}_{style}_{index}",
            "band_edge_hz": EDGE_HZ,
            "floor_edge_hz": EDGE_HZ,
        }

    with ThreadPoolExecutor(workers) as pool:
        rows = list(pool.map(make, range(pieces)))
    with (folder / "manifest.csv").open("w", newline="") as lines:
        table = csv.DictWriter(lines, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


@one_line()
def main(arguments: Sequence[str] | None = None) -> None:
    """Make music to train on."""
    parser = command("synthesis", "Render random pieces into FOLDER; pieces that are there already are kept.")
    parser.add_argument("folder", type=new_folder)
    parser.add_argument("--count", type=int, default=300, help="pieces")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a piece")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers")
    parser.add_argument("--workers", type=int, default=2, help="threads")
    parser.add_argument(
        "--font",
        type=existing_file,
        default="/usr/share/sounds/sf2/FluidR3_GM.sf2",
        help="sound font; Debian's package fluid-soundfont-gm has this one",
    )
    given = parser.parse_intermixed_args(arguments)
    make_music(given.folder, given.count, given.seconds, given.seed, given.workers, given.font)
    print(f"{given.folder}: {given.count} pieces of {given.seconds:g} s")


if __name__ == "__main__":
    main()

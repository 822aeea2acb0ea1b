"""Write the attributions of the audio that weights were trained on: `python -m ttsr_studio.training.attribution`."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from ttsr_studio.training.command import command, existing_folder, one_line
from ttsr_studio.training.data import manifest

HEAD = """# Attribution of the training audio

The built-in engine and the critic were trained on the clips below ({counts}; {hours:.1f} hours).
The audio itself is not distributed here. Clips were resampled to 48 kHz where needed, trimmed, joined,
level-normalised and re-encoded.
"""

TAIL = """
## Music made for training

Random pieces rendered with the sound font FluidR3 GM (Copyright (c) 2000-2002, 2008 Frank Wen; MIT licence).

## Licence texts

CC0 https://creativecommons.org/publicdomain/zero/1.0/ ; CC-BY 3.0 https://creativecommons.org/licenses/by/3.0/ ;
CC-BY 4.0 https://creativecommons.org/licenses/by/4.0/ ; CC-BY-SA 3.0 https://creativecommons.org/licenses/by-sa/3.0/ ;
CC-BY-SA 4.0 https://creativecommons.org/licenses/by-sa/4.0/ ; Apache 2.0 https://www.apache.org/licenses/LICENSE-2.0 ;
Unlicense https://unlicense.org/ ; MIT: the permission notice of the repository that is named (vocobox: Copyright (c)
2014 vocobox).
"""


def attributions(folders: Sequence[Path]) -> str:
    """Markdown: every work with its source, author and length, by licence. Raises as `manifest` does."""
    works: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    kinds: dict[str, int] = defaultdict(int)
    seconds = 0.0
    for folder in folders:
        for _, row, _ in manifest(folder):
            works[row["licence"]][f"{row['source_repo']}: {row['attribution']}"].append(float(row["duration_s"]))
            kinds[row["kind"]] += 1
            seconds += float(row["duration_s"])
    counts = ", ".join(f"{count} of {kind}" for kind, count in sorted(kinds.items()))
    text = HEAD.format(counts=counts, hours=seconds / 3600)
    for licence in sorted(works):
        text += f"\n## {licence}\n\n"
        for work, lengths in sorted(works[licence].items()):
            clips = "1 clip" if len(lengths) == 1 else f"{len(lengths)} clips"
            text += f"- {work} ({clips}, {sum(lengths):.0f} s)\n"
    return text + TAIL


@one_line()
def main(arguments: Sequence[str] | None = None) -> None:
    """Write the attributions of the clips of folders with a manifest.csv."""
    parser = command("attribution", "Write the attributions of DATA to OUT.")
    parser.add_argument("out", type=Path)
    parser.add_argument("data", nargs="+", type=existing_folder, help="folders with manifest.csv")
    given = parser.parse_intermixed_args(arguments)
    given.out.write_text(attributions(given.data), encoding="utf-8")


if __name__ == "__main__":
    main()

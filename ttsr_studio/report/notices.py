"""Notices: what somebody has to know of a file or its render, each with a name, what it means and what to do."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ttsr_studio.report.record import Notice

OF_INPUTS = (
    ("cut-short", r"cut short|its end is missing"),
    ("header-counts-less", r"its header counts"),
    ("length-unknown", r"gives no length"),
    ("end-not-marked", r"its last page is not marked"),
    ("streams-in-a-row", r"one stream behind the other"),
    ("stream-taken", r"audio stream .* taken"),
    ("edit-list", r"an edit list"),
    ("times-mended", r"starts .* late|timestamps"),
    ("damaged", r"damaged|packets before|the decoder complained"),
    ("sound-above-cutoff", r"above --cutoff it holds"),
    ("empty-below-cutoff", r"below --cutoff nothing was heard"),
)
"""What is said of an input, by how it is said; anything else is an `input-note`."""

OF_OUTPUTS = (
    ("lossy", r"lossy: "),
    ("rate-of-codec", r"at \d+ Hz, as "),
    ("late-in-players", r"\d+ samples late"),
)
"""The same of an output; anything else is `metadata-as-it-is`."""


@dataclass(frozen=True)
class Explanation:
    """What a notice means, and what to do."""

    meaning: str
    to_do: str


NOTICES = {
    "cut-short": Explanation(
        "The file holds less audio than its header promises: it was cut off while it was copied or exported.",
        "Copy or export it again. `--salvage` renders what is there.",
    ),
    "header-counts-less": Explanation(
        "The file holds more audio than its header counts.", "Export it again, or render all of it with `--salvage`."
    ),
    "length-unknown": Explanation(
        "The file does not say how long it is, as a recording from a pipe. It was read to its end.",
        "Nothing, if the render is as long as you expect.",
    ),
    "end-not-marked": Explanation(
        "An Ogg file ends without the mark of an end, as a recording that was broken off. It was read to its end.",
        "Nothing, if the render is as long as you expect.",
    ),
    "streams-in-a-row": Explanation(
        "An Ogg file holds several recordings, one after the other. They were read as one.", "Nothing."
    ),
    "stream-taken": Explanation(
        "The file has several audio streams, and one of them was taken.",
        "`--stream N` or `--stream LANGUAGE` takes another one.",
    ),
    "edit-list": Explanation("Parts of the audio are marked as not to be played. They were not read.", "Nothing."),
    "times-mended": Explanation(
        "Time stamps in the file leave gaps, or jump. Gaps became silence, so that picture and sound stay together.",
        "Listen at the places that are named.",
    ),
    "damaged": Explanation(
        "Parts of the file could not be decoded.", "Get a whole copy; otherwise listen at the places that are named."
    ),
    "sound-above-cutoff": Explanation(
        "`--cutoff` is below where sound was found. That sound is kept, and nothing is added to it.",
        "`--remove above` replaces it, or give a higher `--cutoff`.",
    ),
    "empty-below-cutoff": Explanation(
        "`--cutoff` is above where the file's band was heard to end. What is missing between the two is not filled.",
        "Leave `--cutoff` out, or give a lower one, if you did not mean it.",
    ),
    "input-note": Explanation("Something else was found in the file.", "Read the line."),
    "rate-lowered": Explanation(
        "The output has a lower sample rate than the input: 48 kHz, unless another is asked for.",
        "`--rate source` keeps the rate of the input.",
    ),
    "amount": Explanation(
        "Not all of what was made is mixed in, or it is tilted, as `--amount` and `--tilt` ask for.", "Nothing."
    ),
    "tones-kept": Explanation(
        "There are steady tones above the end of the band, such as a CRT's whine. They are kept, as the rest is.",
        "`--remove tones` takes them out.",
    ),
    "removed": Explanation("Something of the input was removed, as `--remove` asks for.", "Nothing."),
    "holes-filled": Explanation("What a codec had emptied was filled, as `--fill-holes` asks for.", "Nothing."),
    "no-holes": Explanation("`--fill-holes` found nothing to fill.", "Nothing."),
    "skirt-lifted": Explanation(
        "What a gentle filter had turned down was lifted; the file is louder by that.",
        "Nothing.",
    ),
    "gain-lowered": Explanation(
        "Peaks would have passed the ceiling, so the whole render is softer than the input by the given figure.",
        "`--limiter` limits the peaks instead; `--depth 32f --loudness off` writes them above full scale.",
    ),
    "level-kept": Explanation(
        "What was made makes the render louder than the input (or softer, where something was removed). The match to "
        "the input's loudness went by 0.5 dB only, so that what was there stays where it was in a mix.",
        "Nothing; `--loudness match` makes the whole as loud as the input.",
    ),
    "level-moved": Explanation(
        "`--loudness match` moves what was there by the given figure, since what was made counts in the loudness.",
        "Leave `--loudness` out to keep its level.",
    ),
    "limited": Explanation("A limiter lowered peaks, as `--limiter` asks for.", "Listen where it is loudest."),
    "lossy": Explanation(
        "The output is coded with loss, as its container holds nothing else, or as was asked for.",
        "Name the output .wav, .flac or .mkv.",
    ),
    "rate-of-codec": Explanation("The output's codec does not take the rate of the input.", "Name another container."),
    "late-in-players": Explanation(
        "The output's container cannot say where its audio begins: players begin it late by the samples given.",
        "Name the output .wav where it has to lie in time.",
    ),
    "metadata-as-it-is": Explanation(
        "Something that the file holds besides audio is not understood. It was carried over as it is, or left out.",
        "See [Metadata](metadata.md).",
    ),
    "metadata-left-out": Explanation(
        "The output's container cannot hold something that the input holds besides audio.",
        "See [Metadata](metadata.md).",
    ),
    "stopped-early": Explanation(
        "The search of some windows ended before its budget was spent: its time was over, or Ctrl-C was pressed.",
        "Give more time, or accept the best so far.",
    ),
    "budget-too-small": Explanation(
        "The time given does not allow one candidate for every window. One was made of each, and it took longer.",
        "Give more time; a render without any search takes about as long as this one did.",
    ),
    "most-candidates": Explanation(
        "A budget of time makes at most 128 candidates of a window. They were made before the time was over.",
        "Nothing, or `--candidates 500` beside the budget.",
    ),
    "fewer-renders": Explanation(
        "Fewer renders were written than `--keep-top` asks for: the time was over before, or some came out equal.",
        "Allow more `--candidates`, or a larger `--budget`.",
    ),
    "control-is-the-choice": Explanation(
        "The random pick of `--control` is the same as the choice, so there is nothing to compare.",
        "Allow more `--candidates`, or a larger `--budget`.",
    ),
    "cannot-choose": Explanation(
        "A verifier goes by which candidate is most like the others, and of two each is as like the other.",
        "`--candidates 3` or more, or another `--verifier`.",
    ),
    "worse-by-a-verifier": Explanation(
        "A verifier gives the render a lower score than the input, or clearly less than the first candidate. The "
        "choice follows all verifiers together, so one of them may lose.",
        "Compare with a random pick: `--control`. Try more candidates, or another preset.",
    ),
    "held-out-behind": Explanation(
        "Verifiers that had no part in the choice score it below a random pick: the search may be gaming the others.",
        "Make fewer candidates, or let several verifiers choose.",
    ),
    "uncertain": Explanation(
        "Candidates differ by more than `--uncertain-above` (6 dB) there, so what was made is a guess.",
        "Listen there first; `--keep-top 3 --page` begins with that place.",
    ),
    "report-elsewhere": Explanation(
        "The report's usual name belongs to another output of the same stem, or to a file of somebody else's, so this "
        "one has a longer name.",
        "Nothing.",
    ),
    "verifier-left-out": Explanation(
        "A verifier was asked for as `NAME?` and is not installed.", "`ttsr doctor` says how to get it."
    ),
}  # fmt: skip
"""All notices by name, with what they mean."""


def input_notices(texts: Iterable[str]) -> list[Notice]:
    """What was said of an input, with names."""
    return [Notice(_named(text, OF_INPUTS, "input-note"), text) for text in texts]


def output_notices(texts: Iterable[str]) -> list[Notice]:
    """What was said of an output's metadata and codec, with names."""
    return [Notice(_named(text, OF_OUTPUTS, "metadata-as-it-is"), text) for text in texts]


def rate_notice(before: int, after: int) -> list[Notice]:
    """What is said of an output whose rate is lower than the input's; both in Hz."""
    if after >= before:
        return []
    text = f"sample rate lowered from {before / 1000:g} to {after / 1000:g} kHz; --rate source keeps it"
    return [Notice("rate-lowered", text)]


def _named(text: str, kinds: Iterable[tuple[str, str]], other: str) -> str:
    return next((name for name, pattern in kinds if re.search(pattern, text)), other)


HEAD = """\
# Warnings

What the tool says beside a result, on the line of a render after "note:", in `notices` of `--json` and of the report,
and on the page; `ttsr inspect` names those of the file. Besides these a file may be **skipped**: it is full-band
already, or nothing says that its band was limited. Then there is nothing to do, unless you know better:
`--cutoff 5000` says where the band ends, and with `--remove above` what lies above it is replaced.
"""


def notices_page() -> str:
    """The page of the documentation on all notices, in Markdown."""
    parts = [f"## {name}\n\n{each.meaning}\n\nWhat to do: {each.to_do}\n" for name, each in NOTICES.items()]
    return "\n".join([HEAD, *parts])

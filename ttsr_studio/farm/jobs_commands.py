"""Command lines of a bundle, as a shell and SLURM take them."""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import PureWindowsPath

from ttsr_studio.batch.path_map import pure
from ttsr_studio.errors import OptionError

MOST_TASKS = 1000
"""Of an array: what SLURM allows where nobody has changed MaxArraySize."""

PLAIN = re.compile(r"[ -~\u00a1-\ud7ff\ue000-\uffff]*")
"""What may stand in a line of text and means nothing to a terminal."""


WINDOWS_WORD = re.compile(
    r"""\s*(?:"([^"]*)"|'([^']*)'|((?:[a-z]:\\|\\\\)[^"']*?\.(?:exe|com|bat|cmd))|([^\s"']+))(?=\s|$)""", re.IGNORECASE
)
"""A word in quotes, a program's whole path, which may hold spaces, or a word without any."""


def windows_words(text: str) -> list[str]:
    """The words of a command line of Windows. Raises ValueError."""
    words, at = [], 0
    while at < len(text.rstrip()):
        found = WINDOWS_WORD.match(text, at)
        if found is None:
            raise ValueError("No closing quotation")
        words.append(next(word for word in found.groups() if word is not None))
        at = found.end()
    return words


def of_windows(text: str) -> bool:
    """Whether a program is named as on Windows."""
    named = "\\" in text or re.search(r"\.(exe|com|bat|cmd)[\"']?(\s|$)", text, re.IGNORECASE)
    return bool(named) and not text.lstrip("\"' ").startswith("/")


def program_words(text: str) -> list[str]:
    """The words that start `ttsr` on a node: a program, or one with arguments. Raises OptionError for none."""
    try:
        words = windows_words(text) if of_windows(text) else shlex.split(text)
    except ValueError as error:
        raise OptionError(f"--ttsr {text!r}: {error}; quote it as a shell wants it") from error
    if not words:
        raise OptionError("--ttsr: names no program; leave it out for ttsr")
    if "{{" in text or not PLAIN.fullmatch(text):
        raise OptionError(f"--ttsr {text!r}: neither {{{{ nor letters that cannot be seen may stand in it")
    return words


def shell_word(word: str, windows: bool = False) -> str:
    """A word as a shell reads it, on one line of text whatever stands in it."""
    if windows:
        return subprocess.list2cmdline([word])
    if PLAIN.fullmatch(word):
        return shlex.quote(word)
    letters = {"%": "%%", "\\": "\\\\", "'": "\\047"}
    safe = (letters.get(chr(each), chr(each)) if 32 <= each < 127 else f"\\{each:03o}" for each in os.fsencode(word))
    return f"\"$(printf '{''.join(safe)}')\""


def command_lines(place: str, jobs: int, program: Sequence[str]) -> Iterator[str]:
    """A line for each job of a bundle that lies at an absolute place, as nodes have it."""
    folder = pure(place)
    windows = isinstance(folder, PureWindowsPath) or of_windows(program[0])
    begin = " ".join(shell_word(word, windows) for word in [*program, "render", "--job"])
    for number in range(1, jobs + 1):
        job = str(folder / "jobs" / f"{number}.json") if folder else f"{place}/jobs/{number}.json"
        yield f"{begin} {shell_word(job, windows)} --exit-codes fault"


def slurm_script(jobs: int, program: Sequence[str], gpu: bool) -> str:
    """An array for sbatch, to be submitted from within the bundle."""
    tasks = min(jobs, MOST_TASKS)
    words = " ".join(map(shell_word, program))
    card = f"{'#' * (not gpu)}#SBATCH --gres=gpu:1"
    after = f" Task N does job N, and every {tasks}th after it." if jobs > tasks else ""
    return f"""#!/bin/bash
#SBATCH --job-name=ttsr
#SBATCH --array=1-{tasks}
#SBATCH --output=jobs/%a.log
#SBATCH --cpus-per-task=2
{card}
#SBATCH --signal=B:TERM@60
# Submit it from within this folder: sbatch array.sbatch.{after}
cd "${{SLURM_SUBMIT_DIR:-.}}" || exit 75
trap 'kill -TERM "$child" 2>/dev/null' TERM
code=0
for ((job = SLURM_ARRAY_TASK_ID; job <= {jobs}; job += {tasks})); do
  {words} render --job "jobs/$job.json" --exit-codes fault &
  child=$!
  wait "$child"
  ended=$?
  while kill -0 "$child" 2>/dev/null; do wait "$child"; ended=$?; done
  [ "$ended" -gt "$code" ] && code=$ended
  [ "$ended" -eq 130 ] && break
done
exit "$code"
"""

"""What README and docs tell people to type exists: every command, and every option with its value."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import click
import pytest
from generated_pages import PAGES as GENERATED
from helpers import Ttsr, below, save, voice

from ttsr_studio.cli.main import main

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    {*ROOT.glob("*.md"), *(p for f in ("docs", "integrations", "ttsr_studio") for p in (ROOT / f).rglob("*.md"))}
)


def typed(page: Path) -> Iterator[str]:
    """Lines of blocks of code, and code within the text, that begin with `ttsr`."""
    parts = re.split(r"^ *```.*$", page.read_text(encoding="utf-8").replace("\\\n", " "), flags=re.MULTILINE)
    for text, block in zip(parts[::2], [*parts[1::2], ""], strict=True):
        yield from (code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", text) if code.startswith("ttsr "))
        yield from (line.strip() for line in block.splitlines() if re.match(r"\s*(\S*/)?ttsr ", line))


def alternatives(words: list[str]) -> Iterator[tuple[str, ...]]:
    """`queue list|show stems` -> both commands."""
    yield from product(*(word.split("|") if re.fullmatch(r"[\w|-]+", word) else [word] for word in words))


COMMANDS = sorted({
    (page.relative_to(ROOT).as_posix(), " ".join(map(shlex.quote, words)))
    for page in PAGES
    for line in typed(page)
    for words in alternatives(shlex.split(line, comments=True)[1:])
})  # fmt: skip


def check(arguments: list[str]) -> None:
    """Raise click.UsageError for a command, an option or a value that is not known; files need not exist."""
    command: click.Command = main
    context = click.Context(main, info_name="ttsr")
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        found = command.get_command(context, arguments[0])
        if found is None:
            raise click.UsageError(f"no command {arguments[0]!r}")
        command, arguments = found, arguments[1:]
        context = click.Context(command, parent=context)
    try:
        values = command.make_parser(context).parse_args(list(arguments))[0]
    except click.BadOptionUsage as error:
        if error.option_name != arguments[-1]:
            raise
        return  # an option that is named without its value, as in `ttsr render --job`
    for option in command.params:
        if isinstance(option, click.Option) and option.name in values and not isinstance(option.type, click.Path):
            option.type_cast_value(context, values[option.name])


def test_there_are_commands_to_check() -> None:
    assert {page for page, _ in COMMANDS} >= {"README.md", "docs/studio/jobs.md", "docs/models/builtin.md"}
    assert len(COMMANDS) > 30


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_what_the_pages_tell_people_to_type_exists(page: str, line: str) -> None:
    check(shlex.split(line))


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("rander a.wav", "no command"),
        ("render a.wav --candidate-count 3", "No such option"),
        ("render a.wav --search best", "best"),
        ("render a.wav --candidates many", "not a valid integer"),
        ("queue lost stems", "no command"),
    ],
)
def test_what_does_not_exist_is_found(line: str, wrong: str) -> None:
    with pytest.raises(click.UsageError) as error:
        check(shlex.split(line))
    assert wrong in error.value.format_message()


@pytest.mark.parametrize("page", GENERATED, ids=lambda page: page.name)
def test_pages_that_are_made_from_the_code_are_those_that_are_made(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == GENERATED[page](), "run: python tests/generated_pages.py"


def test_the_site_is_built_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-b",
        "html",
        ROOT / "docs",
        tmp_path / "site",
    ]
    done = subprocess.run([*map(str, command), "-d", str(tmp_path / "doctrees")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "index.html").is_file()


def test_the_readme_fits_and_its_links_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("\n") <= 150
    assert max(map(len, text.splitlines())) <= 120
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []
    assert len(re.findall(r"^python3.11 tasks.py", text, re.MULTILINE)) == 2


RUNNABLE = {"render", "inspect", "presets", "schema", "doctor"}
"""Commands that end by themselves, on files that a test can make."""


def blocks(page: Path) -> Iterator[list[str]]:
    """Words of every `ttsr` command in the blocks of a page that are meant for a terminal, without its name."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for block in re.findall(r"^ *```(?:sh|console)\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            if re.match(r"(\$ )?ttsr ", line):
                yield shlex.split(line.removeprefix("$ "), comments=True)[1:]


def to_run(page: Path) -> list[list[str]]:
    return [w for w in blocks(page) if w[0] in RUNNABLE and not {"audiosr", "|", "--farm"} & set(w)]


@pytest.mark.parametrize("page", [p for p in PAGES if to_run(p)], ids=lambda p: p.relative_to(ROOT).as_posix())
def test_what_the_pages_tell_people_to_type_runs(
    page: Path, ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "stems").mkdir()
    for name in ("vocals.wav", "a.wav", "stems/b.wav"):
        save(tmp_path / name, below(voice(0.7), 5000))
    for words in to_run(page):
        arguments, _, target = " ".join(map(shlex.quote, words)).partition(" '>' ")
        again = words[0] == "render" and not {"--again", "--overwrite", "--dry-run"} & set(words)
        result = ttsr(*shlex.split(arguments), *(["--overwrite"] if again else []))
        assert result.exit_code == 0, f"{arguments}: {result.output}"
        if target:
            Path(target).write_text(result.output, encoding="utf-8")

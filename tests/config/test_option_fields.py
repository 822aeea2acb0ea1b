"""The table of options: it is whole, and everything that takes options takes them from it."""

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from helpers import Ttsr, below, save, voice
from jsonschema import Draft202012Validator

from ttsr_studio.batch.job_schema import job_schema
from ttsr_studio.cli.commands.evaluate import evaluate_command
from ttsr_studio.cli.commands.inspect import inspect_command
from ttsr_studio.cli.commands.render import render_command
from ttsr_studio.cli.commands.watch import watch_command
from ttsr_studio.cli.help import GroupedCommand
from ttsr_studio.config import presets
from ttsr_studio.config.option_fields import FIELDS, GROUPS, PRESET_KEYS, held_by, registered
from ttsr_studio.config.resolve import OF_SOME_SEARCHES, resolve
from ttsr_studio.config.sidecar import KEYS as ANNOTATION_KEYS
from ttsr_studio.config.sidecar import OWN
from ttsr_studio.errors import OptionError, unknown
from ttsr_studio.evaluation.benchmark import system_spec
from ttsr_studio.options import FIRST_GROUPS, KNOWN, RenderOptions
from ttsr_studio.options.schema import options_schema

ROOT = Path(__file__).parents[2]
SAMPLES = {
    "amount": "auto",
    "chain": "chain.toml",
    "budget": "64nfe",
    "bitrate": "256k",
    "ceiling": -1.0,
    "cutoff": 6000,
    "loudness": "-23",
    "set": ["keep=0.5"],
    "target": ["critic=-1"],
    "weight": ["critic=2"],
    "verifier": ["continuity"],
    "hold-out": ["lowband"],
}


def test_the_table_and_the_options_are_the_same() -> None:
    assert {field.field for field in FIELDS.values()} == {each.name for each in fields(RenderOptions)}
    assert len(FIELDS) == len(fields(RenderOptions))
    for name, field in FIELDS.items():
        assert field.name == name
        assert field.group in GROUPS
        assert field.flag or not field.held_by or name in OF_SOME_SEARCHES, (
            f"{name} has no flag, but something else sets it"
        )


def test_every_option_but_those_of_no_flag_is_a_flag_and_every_flag_of_a_render_is_in_the_table() -> None:
    flags = {parameter.name for parameter in render_command.params}
    about_the_command = {
        "job", "inputs", "output", "again", "keep_rewards", "report", "overwrite", "skip_existing", "dry_run",
        "as_json", "help_all", "quiet", "verbose", "log", "exit_codes", "progress", "path_map", "farm",
        "farm_gpus", "farm_workers",
    }  # fmt: skip
    assert flags - {*about_the_command, *OF_SOME_SEARCHES} == {field.field for field in FIELDS.values() if field.flag}


def test_those_who_take_options_take_them_from_the_table() -> None:
    assert set(ANNOTATION_KEYS) == {name for name, field in FIELDS.items() if field.group == KNOWN}
    assert {*ANNOTATION_KEYS, *OWN, *PRESET_KEYS} == set(held_by("sidecar"))
    assert {*system_spec.KEYS, *system_spec.FIXED} >= set(PRESET_KEYS), "every preset can be evaluated"
    assert set(job_schema()["properties"]["options"]["properties"]) == set(held_by("job")) > set(PRESET_KEYS)
    assert set(options_schema()) == {field.field for field in FIELDS.values()}


def test_schemas_that_are_printed_hold_the_table(ttsr: Ttsr) -> None:
    job, report = (json.loads(ttsr("schema", what).stdout) for what in ("job", "report"))
    Draft202012Validator.check_schema(job)
    assert job == job_schema()
    of_a_job = Draft202012Validator(job["properties"]["options"])
    of_a_job.validate({"candidates": 16, "verifier": "critic", "weight": ["critic=2"], "guidance-interval": [0.1, 5]})
    written = [{"rate": "44.1k"}, {"rate": "48 kHz"}, {"rate": "source"}, {"depth": "24-bit"}, {"depth": "32f"}]
    for right in (*written, {"cutoff": "7k"}, {"cutoff": "4k,8k"}, {"budget": "10min"}, {"loudness": "-23 LUFS"}):
        of_a_job.validate(right)
        resolve("general", right)
    wrongs = ({"rate": "fast"}, {"depth": ""}, {"depth": "12"})
    for wrong in (*wrongs, {"candidats": 16}, {"candidates": 0}, {"speaker": "a.wav"}, {"rate": 12345}):
        assert not of_a_job.is_valid(wrong), wrong
    of_a_report = Draft202012Validator(report["$defs"]["ToolInfo"]["properties"]["options"])
    options = RenderOptions(weights=["critic=2"], guidance_interval=[0.1, 5], budget="64nfe", candidates=None)
    of_a_report.validate(options.to_json())
    assert set(options.to_json()) == set(options_schema())
    assert not of_a_report.is_valid(options.to_json() | {"steps": 0})


def test_the_help_shows_every_option_in_its_group() -> None:
    shown = CliRunner().invoke(render_command, ["--help-all"], terminal_width=120).output
    assert "\x1b" not in shown, "plain text where there is no terminal"
    parts = dict(zip(GROUPS, sections(shown), strict=True))
    for name, field in FIELDS.items():
        if field.flag:
            (where,) = [title for title, text in parts.items() if f"\n  --{name} " in text]
            assert where == field.group, f"--{name}"
            assert " ".join(field.help.split()) in " ".join(parts[where].split())


def test_help_shows_examples_first_then_the_groups_that_most_people_need() -> None:
    shown = CliRunner().invoke(render_command, ["--help"], terminal_width=80).output
    titles = [line[:-1] for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["Examples", *FIRST_GROUPS]
    assert shown.count("\n") < 85
    for name, field in FIELDS.items():
        assert (f"  --{name} " in shown) == (field.flag and field.group in FIRST_GROUPS), f"--{name}"
    assert "--help-all" in shown


def test_every_option_of_the_grouped_commands_has_a_group() -> None:
    for command in (render_command, watch_command, evaluate_command, inspect_command):
        assert isinstance(command, GroupedCommand)
        records = command.records(click.Context(command))
        assert set(records) == {*command.first, *command.more}, command.name
        for line, _ in command.examples:
            assert line.startswith(f"ttsr {command.name} ")


def sections(shown: str) -> list[str]:
    """The text below the title of every group."""
    for title in GROUPS:
        assert f"\n{title}:\n" in shown
        shown = shown.replace(f"\n{title}:\n", "\n\0\n")
    return shown.split("\0")[1:]


@pytest.mark.parametrize("name", PRESET_KEYS)
def test_a_preset_may_set_it_and_the_render_has_it(name: str, tmp_path: Path) -> None:
    field = FIELDS[name]
    other = [each for each in field.choices if each != str(field.default)]
    value: Any = SAMPLES.get(name) or (other[0] if other else sample(field.kind, bool(field.several)))
    if field.default is True:
        value = False
    needed = {"look": "decode-top = 1\n", "guidance-interval": "guidance = 2\n", "diverse": "keep-top = 2\n"}
    more = needed.get(name, "")
    if name in ("cosine", "stride", "neighbours", "pivot"):
        more = "search = 'zero-order'\n"
    if name == "set":
        more = "search = 'halving'\n"
    (tmp_path / "chain.toml").write_text("[[after]]\nplugin = 'Gain'\n")
    preset = tmp_path / "mine.toml"
    preset.write_text(f"{more}{name} = {json.dumps(value)}\n")
    options = resolve(str(preset), {})
    assert getattr(options, field.field) != field.default, f"{name} = {value!r} does nothing"
    given = resolve("general", presets.values_of(str(preset)))
    assert getattr(given, field.field) == getattr(options, field.field), "given by itself it does the same"


def sample(kind: type, several: bool) -> Any:
    """A value that no option has by default."""
    plain = {bool: True, int: 3, float: 0.75, tuple: [0.1, 5.0]}.get(kind, "x")
    return [plain] if several else plain


@pytest.mark.parametrize("name", ["cutoff", "ceiling"])
def test_ranges_are_in_the_schema_and_in_the_refusal(name: str) -> None:
    (number,) = [each for each in options_schema()[name].get("anyOf", [options_schema()[name]]) if "minimum" in each]
    for beyond in (number["minimum"] - 1, number["maximum"] + 1, float("nan")):
        with pytest.raises(OptionError, match=rf"^--{name} {beyond:g}: (true peak )?from"):
            RenderOptions(**{name: beyond})
    RenderOptions(**{name: number["minimum"]})


def test_an_unknown_key_is_refused_with_the_nearest_ones() -> None:
    assert str(unknown("key", "candidats", PRESET_KEYS)).endswith("; nearest: candidates")
    assert "nearest" not in str(unknown("key", "zzzz", PRESET_KEYS))
    with pytest.raises(OptionError, match=r"unknown option 'stepps'; known: .*; nearest: steps"):
        RenderOptions(**{"stepps": 3})


def test_what_is_no_number_is_refused_in_one_line() -> None:
    with pytest.raises(OptionError, match=r"^Invalid value for '--candidates': 'many' is not a valid integer.$"):
        RenderOptions(candidates="many")  # type: ignore[arg-type]


def test_registries_are_asked_when_a_name_is_wanted() -> None:
    assert {name for name in FIELDS if registered(FIELDS[name].field)} == {
        "engine", "search", "solver", "schedule", "verifier"
    }  # fmt: skip
    code = "import sys, ttsr_studio, ttsr_studio.config.resolve; print(sorted({'torch', 'click'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "written", "understood"),
    [
        ("budget", "10min", (None, 600.0)),
        ("budget", "1h", (None, 3600.0)),
        ("budget", "90 s", (None, 90.0)),
        ("budget", "1h 30min", (None, 5400.0)),
        ("budget", "64NFE", (64, None)),
        ("rate", "44.1k", 44100),
        ("rate", "48kHz", 48000),
        ("cutoff", "7k", 7000.0),
        ("cutoff", "7 kHz,8000Hz", "7000,8000"),
        ("depth", "24bit", "24"),
        ("depth", "float", "32f"),
        ("loudness", "-23 LUFS", -23.0),
    ],
)
def test_what_people_write_is_understood_alike_in_presets_flags_and_objects(
    name: str, written: str, understood: Any, tmp_path: Path
) -> None:
    preset = tmp_path / "mine.toml"
    preset.write_text(f"{name} = {json.dumps(written)}\n")
    every = [resolve(str(preset), {}), resolve("general", {name: written}), RenderOptions(**{name: written})]
    for options in every:
        read = (options.budget_nfe, options.budget_seconds) if name == "budget" else getattr(options, name)
        assert read == understood


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--amount", "50%"], "for 50% write 0.5"),
        (["--amount", "0,5"], "for 0,5 write 0.5, with a point"),
        (["--tilt", "-1,5"], "for -1,5 write -1.5, with a point"),
        (["--budget", "1,5min"], "for 1,5min write 1.5min, with a point"),
        (["--rate", "44,1k"], "44,1k"),
        (["--search", "halvin"], "nearest: halving"),
        (["--preset", "speach"], "nearest: speech"),
        (["--verifier", "critik"], "nearest: critic"),
        (["--candidats", "2"], "--candidates"),
        (["--cosine", "0.9"], "--cosine is a setting of the search now: --set cosine=0.9"),
        (["--device", "gqu"], "nearest: gpu"),
    ],
)
def test_a_slip_is_refused_with_what_to_write(flags: list[str], line: str, ttsr: Ttsr, tmp_path: Path) -> None:
    source = save(tmp_path / "a.wav", below(voice(0.5), 5000))
    refused = ttsr("render", source, *flags, "--dry-run")
    assert refused.exit_code == 2
    assert line in refused.output
    assert refused.output.count("Error:") == 1


def test_a_quoted_tilde_is_the_users_folder(ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    source = save(tmp_path / "a.wav", below(voice(0.5), 5000))
    (tmp_path / "mine.toml").write_text("candidates = 2\n")
    planned = ttsr("render", "~/a.wav", "-o", "~/out/b.wav", "--preset", "~/mine.toml", "--dry-run", "--json")
    assert planned.exit_code == 0, planned.output
    told = json.loads(planned.stdout)
    assert (told["input"], told["output"]) == (str(source), str(tmp_path / "out" / "b.wav"))


def test_a_setting_that_is_given_goes_before_the_key_of_a_preset() -> None:
    assert resolve("paper-speech", {"set": ["neighbours=4"]}).search_settings()["neighbours"] == "4"

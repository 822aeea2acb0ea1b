"""Which of flags, sidecars, reports, presets and defaults holds."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ttsr_studio.cli.commands.render import render_command
from ttsr_studio.cli.render_options import given_flags
from ttsr_studio.config.resolve import read_transcript, resolve, with_sidecar
from ttsr_studio.errors import InputError, OptionError
from ttsr_studio.options import RenderOptions

Preset = Callable[[str], str]


@pytest.fixture
def preset(tmp_path: Path) -> Preset:
    """Write a preset, and give its path as `--preset` takes it."""

    def write(text: str) -> str:
        path = tmp_path / "speech-mine.toml"
        path.write_text(text)
        return str(path)

    return write


def sidecar(tmp_path: Path, text: str) -> Path:
    (tmp_path / "a.ttsr.toml").write_text(text)
    return tmp_path / "a.wav"


def test_what_is_given_goes_before_a_report_a_report_before_a_preset_a_preset_before_defaults(preset: Preset) -> None:
    own = preset("segment = 1\nseed = 1\nsteps = 1\ncandidates = 1")
    options = resolve(own, {"segment": 4.0}, defaults={"seed": 9, "batch": 9}, report={"segment": 3.0, "seed": 3})
    assert (options.segment, options.seed, options.steps, options.batch) == (4.0, 3, 1, 9)
    assert options.preset == "speech-mine"
    assert resolve(None, {}) == RenderOptions()


def test_what_is_given_holds_even_where_it_is_the_default(preset: Preset) -> None:
    assert resolve(preset("segment = 2"), {"segment": 0.64}).segment == 0.64
    assert resolve(preset("control = true"), {"control": False}).control is False


def test_a_flag_is_given_where_it_was_typed() -> None:
    typed = ["a.wav", "--segment", "0.64", "--no-page", "--verifier", "critic", "--preset", "music"]
    with render_command.make_context("render", typed) as ctx:
        assert given_flags(ctx) == {"segment": 0.64, "page": False, "verifier": ("critic",)}


def test_a_limit_that_is_given_takes_the_place_of_the_preset_s(preset: Preset) -> None:
    both = preset("candidates = 3\nbudget = '64nfe'")
    assert (resolve(both, {}).candidates, resolve(both, {}).budget) == (3, "64nfe")
    assert resolve(both, {"budget": "30s"}).candidates is None
    assert resolve(both, {"candidates": 5}).budget is None
    given = resolve(both, {"candidates": 5, "budget": "30s"})
    assert (given.candidates, given.budget, given.budget_seconds) == (5, "30s", 30.0)


def test_settings_of_a_preset_give_way_to_a_search_that_does_not_take_them(preset: Preset) -> None:
    own = preset("search = 'zero-order'\ncosine = 0.9\nset = ['pivot=paper']")
    assert resolve(own, {}).search_settings() == {"cosine": 0.9, "pivot": "paper"}
    assert resolve(own, {"search": "halving"}).search_settings() == {}
    assert resolve(own, {"search": "halving", "cosine": 0.8}).cosine == 0.8, "what is given is refused by the search"


def test_auto_is_what_suits_the_preset(preset: Preset) -> None:
    assert "dnsmos?" in resolve(preset("verifier = 'auto'"), {}).verifiers
    assert "dnsmos?" not in resolve("general", {"verifier": ["auto"]}).verifiers


def test_a_sidecar_goes_before_flags_and_flags_before_its_preset(tmp_path: Path) -> None:
    options = resolve("general", {"seed": 2, "verifier": ["continuity"], "steps": 3})
    given = {"seed", "verifier", "steps"}
    source = sidecar(tmp_path, "seed = 9\nsegment = 2")
    mine = with_sidecar(source, options, given)
    assert (mine.seed, mine.segment, mine.steps, mine.preset) == (9, 2.0, 3, "general")
    mine = with_sidecar(sidecar(tmp_path, "preset = 'music'\nseed = 9"), options, given)
    assert (mine.preset, mine.seed, mine.steps, mine.verifiers) == ("music", 9, 3, ("continuity",))
    assert mine.ensemble == resolve("music", {}).ensemble == "zsum"
    assert with_sidecar(sidecar(tmp_path, "transcript = 'hello'"), options, given) == options
    assert with_sidecar(tmp_path / "b.wav", options, given) is options


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"engine": "magic"}, r"^Invalid value for '--engine': 'magic' is not one of 'builtin', "),
        ({"verifier": ["taste"]}, "unknown verifier 'taste'; known: "),
        ({"steps": "x"}, r"^Invalid value for '--steps': 'x' is not a valid integer\.$"),
        ({"weight": ["critic"]}, r"^--weight 'critic': NAME=W, such as critic=2$"),
    ],
)
def test_what_is_wrong_is_refused_in_one_line(given: dict[str, object], words: str) -> None:
    with pytest.raises(OptionError, match=words) as error:
        resolve("general", given)
    assert "\n" not in str(error.value)


def test_wrong_files_are_named(tmp_path: Path, preset: Preset) -> None:
    with pytest.raises(OptionError, match=r"speech-mine\.toml: unknown key 'segmnt'; known: .*; nearest: segment"):
        resolve(preset("segmnt = 2"), {})
    with pytest.raises(InputError, match=r"a\.ttsr\.toml: unknown key 'transcipt'; known: .*; nearest: transcript"):
        with_sidecar(sidecar(tmp_path, "transcipt = 'hello'"), RenderOptions(), ())
    with pytest.raises(InputError, match="captions must be a list of texts"):
        with_sidecar(sidecar(tmp_path, "captions = 'hello'"), RenderOptions(), ())
    with pytest.raises(OptionError, match=r"--transcript .*none\.txt: "):
        read_transcript(str(tmp_path / "none.txt"))

"""Wheel and sdist: what is in them, and that the wheel runs from an environment of its own."""

import json
import os
import re
import shutil
import site
import subprocess
import sys
import tarfile
import textwrap
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder
from helpers import LONGEST, below, save, voice

import ttsr_studio

ROOT = Path(__file__).parent.parent
CARDS = (
    "engines/builtin/MODEL_CARD.md",
    "engines/builtin/ATTRIBUTION.md",
    "verifiers/critic/MODEL_CARD.md",
    "verifiers/probe/MODEL_CARD.md",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(next(WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")))))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(next(SdistBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("sdist")))))


def test_the_wheel_carries_everything(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        told = message_from_bytes(archive.read(metadata))
    inside = {name.removeprefix("ttsr_studio/") for name in names if name.startswith("ttsr_studio/")}
    assert {f"_presets/{path.name}" for path in (ROOT / "presets").glob("*.toml")} <= inside
    assert set(CARDS) <= inside
    tracked = {path.relative_to(ROOT).as_posix() for path in (ROOT / "integrations").rglob("*") if path.is_file()}
    tracked = {name for name in tracked if "__pycache__" not in name}
    tracked |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs/studio").glob("*.md")}
    assert {f"_shipped/{name}" for name in tracked} <= inside
    licences = {name.split(".dist-info/licenses/")[1] for name in names if ".dist-info/licenses/" in name}
    assert licences == set(told.get_all("License-File") or [])
    assert len(licences) == 5
    assert {"sessions/schemas/Project.xsd", "sessions/schemas/MetaData.xsd"} <= inside
    assert told["Version"] == ttsr_studio.__version__
    assert not [name for name in names if "__pycache__" in name or name.startswith(("tests/", "ttsr_studio/training"))]


def test_the_sdist_builds_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = (path for path in tmp_path.iterdir() if path.is_dir())
    for name in ("README.md", "CITATION.cff", "constraints.txt", "tasks.py", "tests/conftest.py", "docs/index.md"):
        assert (source / name).is_file(), name
    again = Path(next(WheelBuilder(str(source)).build(directory=str(tmp_path / "wheel"))))
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert {each.filename: each.CRC for each in first.infolist()} == {
            each.filename: each.CRC for each in second.infolist()
        }


def test_the_wheel_runs_from_an_environment_of_its_own(wheel: Path, tmp_path: Path) -> None:
    """Dependencies are those of the tests, by a path file: the package itself comes from the wheel."""
    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True, timeout=LONGEST)
    scripts = home / ("Scripts" if sys.platform == "win32" else "bin")
    (library,) = home.rglob("site-packages")
    pip = [sys.executable, "-m", "pip", "--python", str(scripts / "python"), "install", "--quiet"]
    offline = ["--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check"]
    subprocess.run([*pip, *offline, str(wheel)], check=True, timeout=LONGEST)
    (library / "of-the-tests.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    program = str(scripts / "ttsr")
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def ran(*arguments: str) -> str:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, env=clean, timeout=LONGEST)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert ttsr_studio.__version__ in ran("--version")
    assert {path.stem for path in (ROOT / "presets").glob("*.toml")} <= set(ran("presets", "list").split())
    assert str(library) in ran("presets", "show", "speech")
    ran("integrations", "install", "ardour", "--into", str(tmp_path / "ardour"))
    settings = dict(line.split("=", 1) for line in (tmp_path / "ardour/ttsr.conf").read_text().splitlines())
    assert settings["ttsr"] == program
    assert Path(settings["tool"]).is_relative_to(library)

    stem = save(tmp_path / "stem.wav", below(voice(0.3), 5000))
    told = json.loads(ran("render", str(stem), "--preset", "preview", "-o", str(tmp_path / "o.wav"), "--json"))
    assert told["status"] == "rendered", "its weights come from the wheel"
    assert (tmp_path / "o.ttsr.json").exists()


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == ttsr_studio.__version__
    assert f"version: {ttsr_studio.__version__}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## {ttsr_studio.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("git") is None, reason="no git here")
def test_pip_installs_it_from_an_sdist_and_from_the_address_of_a_repository(sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    git = ["git", "-C", str(source), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--quiet",
        "install",
        "--no-deps",
        "--no-build-isolation",
        "--no-compile",
        "--target",
    ]
    for number, what in enumerate((str(sdist), f"git+{source.as_uri()}")):
        target = tmp_path / f"site{number}"
        subprocess.run([*pip, str(target), what], check=True, capture_output=True)
        script = f"import sys; sys.path.insert(0, {str(target)!r}); from ttsr_studio.__main__ import run; run()"
        shown = [sys.executable, "-P", "-c", script, "presets", "show", "music"]
        done = subprocess.run(shown, check=True, capture_output=True, text=True, cwd=tmp_path)
        assert str(target) in done.stdout, "its presets come with it"


@pytest.mark.skipif(
    shutil.which("bash") is None or sys.platform != "linux", reason="commands of the workflow's machine"
)
def test_the_readme_of_a_release_has_links_that_work_elsewhere(tmp_path: Path) -> None:
    workflow = (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")
    step = workflow.split("README work on an index\n        run: |\n")[1].split("      - run")[0]
    shutil.copy(ROOT / "README.md", tmp_path)
    where = os.environ | {"GITHUB_REPOSITORY": "some/where", "GITHUB_REF_NAME": "v1.2.3"}
    subprocess.run(["bash", "-e", "-c", textwrap.dedent(step)], check=True, cwd=tmp_path, env=where)
    text, before = (
        (tmp_path / "README.md").read_text(encoding="utf-8"),
        (ROOT / "README.md").read_text(encoding="utf-8"),
    )
    links, old = (re.findall(r"(!?)\[[^\]]*\]\(([^)]*)\)", each) for each in (text, before))
    assert len(links) == len(old) > 20
    for (picture, link), (_, was) in zip(links, old, strict=True):
        kind = "raw" if picture else "blob"
        assert link == (was if ":" in was else f"https://github.com/some/where/{kind}/v1.2.3/{was}")

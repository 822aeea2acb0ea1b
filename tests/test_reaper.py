"""The REAPER scripts: their specs against a stub of REAPER's API, with the real `ttsr`, and the package index."""

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from conftest import below, save, voice

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "integrations" / "reaper"
SPECS = ROOT / "tests" / "reaper"
TTSR = Path(sys.executable).with_name("ttsr.exe" if os.name == "nt" else "ttsr")
QUOTED = "Łead “1” it's {x} 100% & `a`.wav"


def stems(folder: Path) -> None:
    """Half a second each: names that trip up quoting, equal names in two folders, FLAC, and a file that is not audio."""
    for name in ("one", "two"):
        (folder / name).mkdir(parents=True)
    save(folder / QUOTED, below(voice(0.5), 5000))
    save(folder / "one" / "vox.wav", below(voice(0.5, seed=1), 5000))
    save(folder / "two" / "vox.wav", below(voice(0.5, 44100, channels=2, seed=2), 5000, 44100), 44100)
    save(folder / "loop.flac", below(voice(0.5, seed=3), 5000))
    (folder / "broken.wav").write_bytes(b"this is not audio" * 10)


@pytest.mark.parametrize("lua", ["lua5.3", "lua5.4"])
def test_specs(lua: str, tmp_path: Path) -> None:
    busted = shutil.which("busted")
    if busted is None:
        pytest.skip("busted is not installed")
    if shutil.which(lua) is None:
        pytest.skip(f"{lua} is not installed")
    stems(tmp_path / "stems")
    environment = os.environ | {
        "TTSR": str(TTSR),
        "TTSR_PYTHON": sys.executable,
        "TTSR_SCRIPTS": str(PACKAGE / "TTSR"),
        "TTSR_STEMS": str(tmp_path / "stems"),
        "TTSR_QUOTED": QUOTED,
        "TTSR_WORK": str(tmp_path),
        "OMP_NUM_THREADS": "1",
        "LUA_PATH": f"{SPECS}/?.lua;;",
    }
    command = [lua, busted, "--output=plainTerminal", "--pattern=_spec", str(SPECS)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr

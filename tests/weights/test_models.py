"""`ttsr models`: what it installs is whole, what it refuses it names, and a failure costs nothing."""

import hashlib
import http.server
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from audiosr_fixtures import NAME, imported, models, official  # noqa: F401
from helpers import LONGEST, Ttsr

from ttsr_studio.weights import store


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    monkeypatch.setenv(store.VARIABLE, str(folder))
    return folder


def changed(official: Path, path: Path, change: Callable[[dict[str, Any]], None]) -> Path:  # noqa: F811
    """A copy of a checkpoint with its table of weights changed."""
    weights = torch.load(official, weights_only=True)["state_dict"]
    change(weights)
    torch.save({"state_dict": weights}, path)
    return path


def test_a_model_is_imported_listed_verified_and_found(ttsr: Ttsr, empty: Path, official: Path) -> None:  # noqa: F811
    before = official.read_bytes()
    done = ttsr("models", "import", NAME, official)
    assert done.exit_code == 0, done.output
    rows = {row["name"]: row for row in json.loads(ttsr("models", "list", "--json").stdout)}
    assert rows[NAME]["installed"]
    assert not rows["audiosr-speech"]["installed"]
    assert ttsr("models", "path", NAME).stdout.strip() == str(empty / NAME)
    assert "checksums as installed" in ttsr("models", "verify").stdout
    manifest = json.loads((empty / NAME / store.MANIFEST).read_text())
    assert manifest["origin_sha256"] == hashlib.sha256(before).hexdigest()
    assert manifest["config"]["precision"] == "fp16"
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in (empty / NAME).iterdir()), "others cannot read it"
    assert official.read_bytes() == before
    size = sum(path.stat().st_size for path in (empty / NAME).glob("*.safetensors"))
    assert size < 0.52 * len(before), "more than what inference needs was kept"
    assert "[ok]" not in ttsr("doctor").stdout
    assert sorted(p.name for p in empty.iterdir()) == [NAME]


def test_damage_is_found(ttsr: Ttsr, empty: Path, official: Path) -> None:  # noqa: F811
    assert ttsr("models", "import", NAME, official).exit_code == 0
    weights = empty / NAME / "unet.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    done = ttsr("models", "verify", NAME)
    assert done.exit_code == 1
    assert "DAMAGED: unet.safetensors" in done.output
    done = ttsr("render", "examples/voice_7k_band.flac", "-o", empty / "out.wav", "--engine", NAME)
    assert done.exit_code == 2
    assert "unet.safetensors: damaged" in done.output
    weights.write_bytes(data[:-100])
    done = ttsr("models", "verify", NAME)
    assert done.exit_code == 1
    assert "unet.safetensors" in done.output
    assert "instead of" in done.output


def no_key(weights: dict[str, Any]) -> None:
    del weights["model.diffusion_model.middle_block.1.proj_in.weight"]


def strange_key(weights: dict[str, Any]) -> None:
    weights["model.diffusion_model.lora.up"] = torch.zeros(3)


def other_shape(weights: dict[str, Any]) -> None:
    weights["first_stage_model.decoder.mid.attn_1.q.weight"] = torch.zeros(3, 3, 1, 1)


def not_finite(weights: dict[str, Any]) -> None:
    weights["model.diffusion_model.out.2.bias"][0] = float("nan")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (no_key, "1 weights are missing, model.diffusion_model.middle_block.1.proj_in.weight"),
        (strange_key, "1 weights are not known, model.diffusion_model.lora.up"),
        (other_shape, "first_stage_model.decoder.mid.attn_1.q.weight is (3, 3, 1, 1)"),
        (not_finite, "model.diffusion_model.out.2.bias holds numbers that are not finite"),
    ],
)
def test_another_checkpoint_is_refused_by_name(
    ttsr: Ttsr,
    empty: Path,
    official: Path,  # noqa: F811
    tmp_path: Path,
    change: Callable[[dict[str, Any]], None],
    message: str,
) -> None:
    done = ttsr("models", "import", NAME, changed(official, tmp_path / "other.bin", change))
    assert done.exit_code == 1
    assert message in done.output
    assert "other.bin" in done.output
    assert list(empty.iterdir()) == [], "something was left behind"


class Payload:
    """What a pickle can do to whoever loads it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch pwned",)


def test_files_that_are_no_checkpoints_are_refused(
    ttsr: Ttsr,
    empty: Path,
    official: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    files = {name: tmp_path / f"{name}.bin" for name in ("text", "cut", "pickle", "zip", "plain")}
    files["text"].write_text("not a checkpoint")
    files["cut"].write_bytes(official.read_bytes()[:-5000])
    files["pickle"].write_bytes(pickle.dumps(Payload()))
    torch.save({"state_dict": {"a": Payload()}}, files["zip"])
    torch.save({"state_dict": {"a": torch.zeros(2)}}, files["plain"])
    for name, path in files.items():
        done = ttsr("models", "import", NAME, path)
        assert done.exit_code == 1, name
        assert path.name in done.output
        assert "Traceback" not in done.output
    assert not (tmp_path / "pwned").exists(), "a checkpoint ran code"
    for missing in (tmp_path / "nowhere.bin", tmp_path):
        assert "give the file pytorch_model.bin" in ttsr("models", "import", NAME, missing).output


def test_a_failed_import_keeps_what_was_there(ttsr: Ttsr, empty: Path, official: Path, tmp_path: Path) -> None:  # noqa: F811
    assert ttsr("models", "import", NAME, official).exit_code == 0
    assert ttsr("models", "import", NAME, changed(official, tmp_path / "other.bin", not_finite)).exit_code == 1
    assert "checksums as installed" in ttsr("models", "verify", NAME).output
    assert [p.name for p in empty.iterdir()] == [NAME]


def test_unknown_and_missing_models_say_what_there_is(ttsr: Ttsr, empty: Path, tmp_path: Path) -> None:
    done = ttsr("models", "path", "audiosr")
    assert done.exit_code == 2
    assert "known: aesthetics, audiosr-basic, audiosr-speech" in done.output
    for command in (("models", "path", NAME), ("models", "verify", NAME)):
        done = ttsr(*command)
        assert done.exit_code == 1
        assert f"ttsr models fetch {NAME}" in done.output
    done = ttsr("render", "examples/voice_7k_band.flac", "-o", tmp_path / "out.wav", "--engine", NAME)
    assert done.exit_code == 2
    assert f"ttsr models import {NAME} FILE" in done.output
    done = ttsr("doctor", "--json")
    missing = [row for row in json.loads(done.stdout) if row["name"] == NAME]
    assert not missing[0]["ok"]


def test_no_room_is_said_before_anything_is_written(
    ttsr: Ttsr,
    empty: Path,
    official: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usage = type("Usage", (), {"free": 10_000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    done = ttsr("models", "import", NAME, official)
    assert done.exit_code == 1
    assert "GB free" in done.output
    assert store.VARIABLE in done.output


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as a download needs: one file, ranges, and connections that break."""

    content = b""
    tag = ""
    break_after: int | None = None
    asked: list[str]

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        kind = type(self)
        if not self.path.startswith("/haoheliu/audiosr_basic/resolve/"):
            self.send_error(404)
            return
        span = self.headers.get("Range") if body else None
        start = int(span.removeprefix("bytes=").split("-")[0]) if span else 0
        self.send_response(206 if span else 200)
        self.send_header("X-Repo-Commit", "c" * 40)
        self.send_header("ETag", f'"{kind.tag}"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(kind.content) - start))
        if span:
            self.send_header("Content-Range", f"bytes {start}-{len(kind.content) - 1}/{len(kind.content)}")
        self.end_headers()
        if not body:
            return
        kind.asked.append(span or "all")
        stop = len(kind.content)
        if kind.break_after is not None:
            stop, kind.break_after = start + kind.break_after, None
        self.wfile.write(kind.content[start:stop])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def hub(official: Path) -> Iterator[tuple[type[Hub], str]]:  # noqa: F811
    content = official.read_bytes()
    kind = type("OneHub", (Hub,), {"content": content, "tag": hashlib.sha256(content).hexdigest(), "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield kind, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def fetch(folder: Path, endpoint: str, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(folder / "hub"),
        store.VARIABLE: str(folder / "models"),
    }
    command = [sys.executable, "-m", "ttsr_studio", "models", "fetch", NAME, *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LONGEST)


def test_an_interrupted_download_goes_on_and_is_checked(
    ttsr: Ttsr, tmp_path: Path, hub: tuple[type[Hub], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, endpoint = hub
    server.break_after = len(server.content) // 2
    done = fetch(tmp_path, endpoint, "--keep")
    if done.returncode:  # where the library does not go on by itself, the same command does
        assert "again to go on" in done.stderr
        done = fetch(tmp_path, endpoint, "--keep")
    assert done.returncode == 0, done.stderr
    assert "installed in" in done.stdout
    assert any(asked.startswith("bytes=") for asked in server.asked), "it began from the start"
    manifest = json.loads((tmp_path / "models" / NAME / store.MANIFEST).read_text())
    assert manifest["origin"] == f"haoheliu/audiosr_basic@{'c' * 40}"
    assert manifest["origin_sha256"] == server.tag
    count = len(server.asked)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # which the command sets for its process
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "models"))
    offline = ttsr("models", "fetch", NAME, "--offline")
    assert offline.exit_code == 0, offline.output
    assert len(server.asked) == count
    assert not (tmp_path / "models" / ".downloads" / NAME).exists()


def test_a_download_that_is_not_what_the_hub_says_is_refused(tmp_path: Path, hub: tuple[type[Hub], str]) -> None:
    server, endpoint = hub
    server.tag = "0" * 64
    done = fetch(tmp_path, endpoint)
    assert done.returncode == 1
    assert "is not the hub's" in done.stderr
    assert not (tmp_path / "models" / NAME).exists()


def test_no_network_is_one_line_with_a_way_out(ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = fetch(tmp_path, "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # which the command sets for its process
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "models"))
    offline = ttsr("models", "fetch", NAME, "--offline")
    for code, said in ((done.returncode, done.stderr), (offline.exit_code, offline.stderr)):
        assert code == 1
        assert f"ttsr models import {NAME} FILE" in said
        assert "Traceback" not in said

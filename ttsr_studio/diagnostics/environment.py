"""What is installed and what is missing."""

import os
import platform
import sys
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import psutil
import soundfile
import torch

from ttsr_studio import __version__
from ttsr_studio.diffusion.samplers.registry import SAMPLERS
from ttsr_studio.engines.registry import ENGINES, load_engine
from ttsr_studio.errors import MissingError, TtsrError
from ttsr_studio.plugins.plugin import Plugin
from ttsr_studio.plugins.registry import Registry
from ttsr_studio.search.registry import SEARCHES
from ttsr_studio.verifiers.registry import VERIFIERS, load_verifier
from ttsr_studio.weights import store


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for: its kind and name, whether it is usable, and what there is to say of it.

    Attributes:
        refused: whether it is here, and does not fit.
    """

    kind: str
    name: str
    ok: bool
    detail: str
    refused: bool = False

    @property
    def state(self) -> Literal["ok", "missing", "refused"]:
        return "ok" if self.ok else "refused" if self.refused else "missing"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"kind": self.kind, "name": self.name, "ok": self.ok, "state": self.state, "detail": self.detail}


def findings() -> list[Finding]:
    """Look for devices, engines and verifiers with their weights, and what other packages add.

    It is fit to be shown to others: of the user's folder "~" is left.
    """
    return [replace(each, detail=without_home(each.detail)) for each in (*surroundings(), *parts_here())]


def without_home(text: str) -> str:
    """A text without the name of the user's folder."""
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text


PACKAGES = ("torch", "numpy", "soundfile", "soxr", "av", "click", "pydantic")
"""What the tool stands on."""


def surroundings() -> list[Finding]:
    """Versions of the tool, and of what is around it."""
    memory = psutil.virtual_memory().total / 1e9
    system = f"{platform.platform()}, {os.cpu_count()} processors, {memory:.0f} GB, {sys.getfilesystemencoding()}"
    found = ", ".join(f"{name} {installed_version(name)}" for name in PACKAGES)
    return [
        Finding("ttsr", __version__, True, str(Path(__file__).parents[1])),
        Finding("system", platform.system(), True, system),
        Finding("python", platform.python_version(), True, f"{sys.executable}, {torch.get_num_threads()} threads"),
        Finding("packages", str(len(PACKAGES)), True, f"{found}, libsndfile {soundfile.__libsndfile_version__}"),
    ]


def installed_version(name: str) -> str:
    """Of a package; "missing" where it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def parts_here() -> list[Finding]:
    """Devices, engines, verifiers and plug-ins."""
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    card = torch.cuda.get_device_name() if cuda else "no CUDA device, or a CPU build of torch"
    return [
        Finding("device", "cpu", True, platform.processor() or platform.machine()),
        Finding("device", "cuda", cuda, card),
        Finding("device", "mps", mps, "Apple GPU" if mps else "only on Apple silicon"),
        *map(_engine, ENGINES),
        *map(_verifier, VERIFIERS),
        *(_plugin(ENGINES, each) for each in ENGINES.plugins() if each.name in ENGINES.built_in),
        *(_plugin(VERIFIERS, each) for each in VERIFIERS.plugins() if each.name in VERIFIERS.built_in),
        *(_plugin(SEARCHES, each) for each in SEARCHES.plugins()),
        *(_plugin(SAMPLERS, each) for each in SAMPLERS.plugins()),
    ]


def _plugin(registry: Registry[Any], plugin: Plugin) -> Finding:
    refusal = registry.refusal(plugin)
    return unusable(registry, plugin.name, refusal) if refusal else Finding(plugin.kind, plugin.name, True, plugin.of)


def unusable(registry: Registry[Any], name: str, error: TtsrError) -> Finding:
    """What cannot be used, for it is missing or, of another package, does not fit."""
    here = any(each.name == name for each in registry.plugins())
    return Finding(registry.kind, name, False, str(error), refused=here and not isinstance(error, MissingError))


def _engine(name: str) -> Finding:
    try:
        if store.installed(name):  # too large to load only to see that it is there
            _, manifest = store.present(name)
            return Finding("engine", name, True, f"{manifest.origin}, {manifest.config.get('precision')}")
        engine = load_engine(name, "cpu")
    except TtsrError as error:
        return unusable(ENGINES, name, error)
    weights = ", ".join(f"{file} sha256 {digest[:12]}…" for file, digest in engine.weights().items())
    return Finding("engine", name, True, f"{origin(ENGINES, name)}{engine.sample_rate} Hz; {weights}")


def _verifier(name: str) -> Finding:
    try:
        verifier = load_verifier(name)
    except TtsrError as error:
        return unusable(VERIFIERS, name, error)
    given = sorted(verifier.needs & {"reference"})
    needs = f"needs --{', --'.join(given)}; " if given else ""
    weights = f"{', '.join(verifier.weights)}, {verifier.licence}" if verifier.weights else "no weights"
    return Finding("verifier", name, True, f"{origin(VERIFIERS, name)}{needs}{verifier.unit}; {weights}")


def origin(registry: Registry[Any], name: str) -> str:
    """The package that something comes from, where that is another."""
    plugin = registry.plugin(name)
    return f"{plugin.of}; " if plugin else ""

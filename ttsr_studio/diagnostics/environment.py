"""What is installed and what is missing."""

import platform
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ttsr_studio.diffusion.samplers.registry import SAMPLERS
from ttsr_studio.engines.registry import ENGINES, load_engine
from ttsr_studio.errors import TtsrError
from ttsr_studio.plugins.registry import Plugin, Registry
from ttsr_studio.search.registry import SEARCHES
from ttsr_studio.verifiers.registry import VERIFIERS, load_verifier
from ttsr_studio.weights import store


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for: its kind and name, whether it is usable, and what there is to say of it."""

    kind: str
    name: str
    ok: bool
    detail: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def findings() -> list[Finding]:
    """Look for devices, engines and verifiers with their weights, and what other packages add."""
    threads = f"torch {torch.__version__}, {torch.get_num_threads()} threads"
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    card = torch.cuda.get_device_name() if cuda else "no CUDA device, or a CPU build of torch"
    return [
        Finding("python", platform.python_version(), True, threads),
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
    refused = registry.refusal(plugin)
    return Finding(registry.kind, plugin.name, refused is None, refused or plugin.package)


def _engine(name: str) -> Finding:
    try:
        if store.installed(name):  # too large to load only to see that it is there
            _, manifest = store.present(name)
            return Finding("engine", name, True, f"{manifest.origin}, {manifest.config.get('precision')}")
        engine = load_engine(name, "cpu")
    except TtsrError as error:
        return Finding("engine", name, False, str(error))
    weights = ", ".join(f"{file} sha256 {digest[:12]}…" for file, digest in engine.weights().items())
    return Finding("engine", name, True, f"{origin(ENGINES, name)}{engine.sample_rate} Hz; {weights}")


def _verifier(name: str) -> Finding:
    try:
        verifier = load_verifier(name)
    except TtsrError as error:
        return Finding("verifier", name, False, str(error))
    given = sorted(verifier.needs & {"reference"})
    needs = f"needs --{', --'.join(given)}; " if given else ""
    weights = f"{', '.join(verifier.weights)}, {verifier.licence}" if verifier.weights else "no weights"
    return Finding("verifier", name, True, f"{origin(VERIFIERS, name)}{needs}{verifier.unit}; {weights}")


def origin(registry: Registry[Any], name: str) -> str:
    """The package that something comes from, where that is another."""
    plugin = registry.plugin(name)
    return f"{plugin.package}; " if plugin else ""

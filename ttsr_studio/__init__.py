"""TTSR Studio: inference-time search for diffusion-based audio super-resolution.

```python
import ttsr_studio as ttsr

result = ttsr.render("vocals.wav", "vocals_48k.wav", preset="speech", candidates=16)
```

What is named here is the public API; it is imported on use.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Before torch loads: threads that wait for work sleep, or two renders at once take each other's cores (three times
# slower on a busy machine).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from ttsr_studio.batch.renderer import Renderer as Renderer
    from ttsr_studio.batch.renderer import RenderResult as RenderResult
    from ttsr_studio.batch.renderer import render as render
    from ttsr_studio.errors import InputError as InputError
    from ttsr_studio.errors import MissingError as MissingError
    from ttsr_studio.errors import NothingToAddError as NothingToAddError
    from ttsr_studio.errors import OptionError as OptionError
    from ttsr_studio.errors import OutputError as OutputError
    from ttsr_studio.errors import PluginError as PluginError
    from ttsr_studio.errors import TtsrError as TtsrError
    from ttsr_studio.options import RenderOptions as RenderOptions
    from ttsr_studio.rendering.inference.progress import Event as Event
    from ttsr_studio.report.schema import Report as Report
    from ttsr_studio.verifiers.protocol import Annotations as Annotations

PUBLIC = {
    "render": "ttsr_studio.batch.renderer",
    "Renderer": "ttsr_studio.batch.renderer",
    "RenderResult": "ttsr_studio.batch.renderer",
    "Annotations": "ttsr_studio.verifiers.protocol",
    "Event": "ttsr_studio.rendering.inference.progress",
    "Report": "ttsr_studio.report.schema",
    "RenderOptions": "ttsr_studio.options",
    "TtsrError": "ttsr_studio.errors",
    "InputError": "ttsr_studio.errors",
    "NothingToAddError": "ttsr_studio.errors",
    "OutputError": "ttsr_studio.errors",
    "OptionError": "ttsr_studio.errors",
    "MissingError": "ttsr_studio.errors",
    "PluginError": "ttsr_studio.errors",
}
"""The public names, and where they are defined."""

__all__ = [
    "Annotations",
    "Event",
    "InputError",
    "MissingError",
    "NothingToAddError",
    "OptionError",
    "OutputError",
    "PluginError",
    "RenderOptions",
    "RenderResult",
    "Renderer",
    "Report",
    "TtsrError",
    "__version__",
    "render",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in PUBLIC:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

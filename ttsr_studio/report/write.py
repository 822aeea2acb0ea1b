"""Report files, written whole or not at all."""

import json
import math
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from ttsr_studio.storage.atomic import write_atomic


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report dict whole or not at all; a window takes one line. Raises OutputError."""
    lines = []
    for key, value in report.items():
        if key == "windows":
            windows = ",\n".join("    " + _dump(window) for window in value)
            text = f"[\n{windows}\n  ]" if windows else "[]"
        else:
            text = _dump(value, indent=2).replace("\n", "\n  ")
        lines.append(f"  {_dump(key)}: {text}")
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    write_atomic(path, text.encode("utf-8", "backslashreplace"))  # names that are no text: as JSON escapes them


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays as a compressed .npz, whole or not at all. Raises OutputError."""
    import numpy as np  # a tenth of a second, which help and pages can do without

    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomic(path, buffer.getvalue())


def _dump(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)


def plain_json(value: Any) -> Any:
    """Turn mappings, sequences and numpy scalars into JSON's own types, and what is not finite into None."""
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        return plain_json(value.item())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

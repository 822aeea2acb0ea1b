"""Writing a session whole or not at all."""

from collections.abc import Callable
from pathlib import Path

from ttsr_studio.errors import OutputError, shown
from ttsr_studio.storage.atomic import hidden, publish, sync_file


def write_session(out: Path, overwrite: bool, make: Callable[[Path], None]) -> None:
    """Have a session made under a temporary name, and give it its own when it is complete.

    Raises OutputError where that cannot be done, or the name is taken and is not to be replaced; what `make` raises.
    """
    temporary = hidden(out)
    try:
        try:
            make(temporary)
            sync_file(temporary)
            publish(temporary, out, overwrite)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot write {shown(out)}: {error.strerror}; check the folder and its free space"
        ) from error

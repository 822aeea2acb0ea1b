"""Loading a model that transformers read from a folder, with one clear line for whatever goes wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ttsr_studio.errors import MissingError, pip_install
from ttsr_studio.weights import store


@contextmanager
def loading(verifier: str, model: str) -> Iterator[tuple[Path, store.Manifest]]:
    """The folder and manifest of an installed model, to load it within.

    Raises MissingError when transformers or the weights are not installed, or the files cannot be loaded.
    """
    try:
        import transformers

        place, manifest = store.require(model)
        transformers.utils.logging.disable_progress_bar()
        yield place, manifest
    except ImportError as error:
        raise MissingError(
            f"verifier {verifier!r} needs the package {error.name!r}: {pip_install('ttsr-studio[judges]')}"
        ) from error
    except (OSError, ValueError, RuntimeError) as error:
        why = " ".join(str(error).split())[:160]
        raise MissingError(f"{store.folder(model)}: cannot be loaded ({why}); {store.remedy(model)}") from error

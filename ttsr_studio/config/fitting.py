"""What does not fit together in options, as far as names and numbers tell: said before anything large is loaded.

What takes the engine and the verifiers to know is said by the session, in the same words.
"""

import sys

from ttsr_studio.errors import DeviceError, MissingError, OptionError
from ttsr_studio.options import RenderOptions
from ttsr_studio.search.registry import BUILT_IN, WITHOUT_PREVIEWS, refuse_settings
from ttsr_studio.verifiers.registry import NEED_REFERENCE, SCORE_ONLY_FINISHED, refuse_strangers


def refuse_unfit(options: RenderOptions) -> None:
    """Raise OptionError, or MissingError for a verifier that lacks a file, for options that do not fit together."""
    names = [name.removesuffix("?") for name in options.verifiers]
    refuse_verifiers(options, names)
    refuse_settings(options.search, options.search_settings())
    wanted, most = max(options.keep_top, options.take), options.candidates
    if most is not None and wanted > most:
        name = "keep-top" if wanted == options.keep_top else "take"
        made = "only 1 candidate is made" if most == 1 else f"only {most} candidates are made"
        raise OptionError(f"--{name} {wanted}: {made}; allow more --candidates")


def refuse_verifiers(options: RenderOptions, names: list[str]) -> None:
    """Raise as `refuse_unfit` for verifiers that lack something, and weights and targets of others."""
    for name in (*options.verifiers, *options.hold_out):
        if name in NEED_REFERENCE and not options.reference:
            raise MissingError(f"verifier {name!r} needs --reference FILE; pass it or leave the verifier out")
    choosing = [*names, "typical"] if options.ensemble == "pessimism" and "typical" not in names else names
    refuse_strangers([name for name, _ in options.weights], [name for name, _ in options.targets], choosing)
    previews = options.search in BUILT_IN and options.search not in WITHOUT_PREVIEWS
    if previews and set(choosing) <= SCORE_ONLY_FINISHED:
        told = ", ".join(choosing)
        raise OptionError(f"--search {options.search} goes by scores on the way, and {told} has none; add critic")


def refuse_device(options: RenderOptions) -> None:
    """Raise DeviceError for a device that is not here, as far as that is known without loading torch."""
    if "torch" in sys.modules:
        from ttsr_studio.engines.device import resolve_device

        resolve_device(options.device)
    elif options.device.split(":")[0] == "mps" and sys.platform != "darwin":
        raise DeviceError(f"device {options.device!r} is not available on this machine: it is of Apple's; take auto")

"""Draw a picture that a render was left without, from what its report and arrays hold: nothing is rendered for it."""

import zipfile
from collections.abc import Callable
from pathlib import Path

from ttsr_studio.errors import InputError
from ttsr_studio.report.lacking import lacking
from ttsr_studio.report.paths import report_paths


def redrawing(target: Path) -> Callable[[], None] | None:
    """What draws a render's picture where it alone is missing; None where it is not so, or its cells were not kept.

    What is given back raises OutputError where the picture cannot be written.
    """
    data, picture, arrays = report_paths(target)
    if lacking(target) != [picture]:
        return None
    import numpy as np

    from ttsr_studio.report.drawn_maps import DrawnMaps
    from ttsr_studio.report.figures import draw_report
    from ttsr_studio.report.validate import load_report

    try:
        report = load_report(data)
        with np.load(arrays) as held:
            cells = DrawnMaps.stored({name: held[name] for name in held.files})
    except (InputError, OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile):
        return None
    if report.search.cut.get("interrupted"):  # is rendered anew
        return None
    return lambda: draw_report(picture, report, cells)

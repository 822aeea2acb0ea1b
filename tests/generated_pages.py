"""Pages of the documentation that are made from the code: `python tests/generated_pages.py` writes them anew."""

from collections.abc import Callable
from pathlib import Path

import api_reference
import cli_reference

from ttsr_studio.config import reference
from ttsr_studio.report import notices

DOCS = Path(__file__).parent.parent / "docs"
PAGES: dict[Path, Callable[[], str]] = {
    DOCS / "use" / "options.md": reference.page,
    DOCS / "use" / "cli.md": cli_reference.reference,
    DOCS / "use" / "warnings.md": notices.notices_page,
    DOCS / "develop" / "api.md": api_reference.reference,
}

if __name__ == "__main__":
    for path, text in PAGES.items():
        path.write_text(text(), encoding="utf-8")

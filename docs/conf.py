"""The documentation as a site: `sphinx-build -W docs site`. Its pages are Markdown that reads well without it, too."""

project = "TTSR Studio"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["training"]
html_theme = "furo"
html_title = "TTSR Studio"
html_show_copyright = False
html_copy_source = False
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]
suppress_warnings = ["myst.header", "misc.highlighting_failure"]

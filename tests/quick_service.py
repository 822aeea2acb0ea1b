"""The program `ttsr` for tests of services: as installed, but for workers with the tiny engine, which draw no picture.

Workers import the program's file under another name than it has itself.
"""

import sys

if __name__ == "__main__":
    from ttsr_studio.__main__ import run

    sys.argv[0] = "ttsr"
    run()
else:
    import preloaded  # noqa: F401

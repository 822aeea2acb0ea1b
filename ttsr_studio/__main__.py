"""`ttsr` and `python -m ttsr_studio`: the command line, with Ctrl-C answered quietly from its first moment on."""

import os
import signal
import sys

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def run() -> None:
    """Run the command line; exits."""
    # While modules are loaded nothing is under way that needs cleaning up, and they could swallow an exception.
    before = signal.signal(signal.SIGINT, lambda *_: leave())
    import click

    from ttsr_studio.cli import main

    signal.signal(signal.SIGINT, before)
    try:
        sys.exit(main(standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)


def leave() -> None:
    """End the process at once."""
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    run()

"""`ttsr` and `python -m ttsr_studio`: the command line, with Ctrl-C answered quietly from its first moment on."""

import sys

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def run() -> None:
    """Run the command line; exits."""
    try:
        import click

        from ttsr_studio.cli import main

        try:
            sys.exit(main(standalone_mode=False))
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except click.Abort:
            click.echo("interrupted", err=True)
            sys.exit(INTERRUPTED)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    run()

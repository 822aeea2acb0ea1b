"""`ttsr` and `python -m ttsr_studio`: the command line, with Ctrl-C answered quietly from its first moment on."""

import sys

from ttsr_studio.cli.interrupt import INTERRUPTED, left_at_once


def run() -> None:
    """Run the command line; exits."""
    with left_at_once():
        import click

        from ttsr_studio.cli.main import main
    try:
        sys.exit(main(standalone_mode=False, prog_name="ttsr"))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    run()

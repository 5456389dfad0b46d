"""The entry point of the command line; if packages are missing, it says what to install."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C ends it without a traceback, even while it loads."""
    try:
        _run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _run() -> None:
    try:
        from hardfirst.cli import main as run
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("hardfirst"):
            raise
        print(
            f'hardfirst: the command line needs {error.name}, which is not installed: pip install "hardfirst[cli]"',
            file=sys.stderr,
        )
        raise SystemExit(2) from None
    run()


if __name__ == "__main__":
    main()

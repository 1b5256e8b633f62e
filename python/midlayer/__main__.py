"""The program `midlayer`: `python -m midlayer`."""

import signal
import sys


def main() -> int:
    """Runs the program with this process's arguments and returns its exit code."""
    # The program handles Ctrl-C by itself.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from ._load import native

    return native.program(["midlayer", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())

"""Run the command line as a process of its own: `helm-efficiency`, or `python -m helm_efficiency`.

Ctrl-C prints one line at any moment, also while the commands are imported and while the process ends.
"""

import os
import signal
from types import FrameType


def main() -> None:
    """Import the command line and run it; see `helm_efficiency.cli.main` for the exit status."""
    is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # a parent process may ignore the signal
    if is_ours:
        signal.signal(signal.SIGINT, _end_at_once)
    from helm_efficiency.cli import main as run

    try:
        if is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    finally:
        if is_ours:
            signal.signal(signal.SIGINT, _end_at_once)


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    """End the process at once: an exception raised here would print a traceback from some import."""
    os.write(2, b"helm-efficiency: interrupted; what was finished is kept, call again to go on.\n")
    os._exit(130)


if __name__ == "__main__":
    main()

"""What the Python programs share: where the server is, checks that name themselves, bounded waiting."""

import contextlib
import faulthandler
import sys
import time

# Longest wait for something that the server does in its own time, seconds.
WAIT_S = 10.0

# Longest run of a program, seconds: a server that never answers must not hold it for ever.
RUN_S = 120

faulthandler.dump_traceback_later(RUN_S, exit=True)


def address():
    """Host and port, the program's two arguments."""
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} HOST PORT")
    return sys.argv[1], int(sys.argv[2])


@contextlib.contextmanager
def check(name):
    """Prints `ok NAME` where the block ends well; ends the program with a message where it does not."""
    try:
        yield
    except BaseException as error:  # The name belongs to every failure, of whatever kind.
        print(f"FAILED {name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        raise
    print(f"ok {name}", flush=True)


def equal(found, expected):
    """Fails where the two differ, and says both."""
    if found != expected:
        raise AssertionError(f"expected {expected!r}, found {found!r}")


def eventually(read, expected):
    """Reads until the expected value comes, for at most WAIT_S."""
    end = time.monotonic() + WAIT_S
    while (found := read()) != expected:
        if time.monotonic() > end:
            raise AssertionError(f"expected {expected!r} within {WAIT_S} s, found {found!r}")
        time.sleep(0.001)

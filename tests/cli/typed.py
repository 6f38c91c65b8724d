"""The command as a user types it."""

import subprocess
import sys

COMMAND = [sys.executable, "-m", "sklearn_speechsent.cli"]


def run(*arguments, stdin=b"", **options):
    """Result of a call: exit code, output and messages."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], input=stdin, capture_output=True, timeout=240, **options
    )


def lines(result):
    """Lines of the messages."""
    return result.stderr.decode().splitlines()

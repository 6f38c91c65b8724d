"""The command ``speechsent``."""

from sklearn_speechsent.cli.app import main

__all__ = ["main"]

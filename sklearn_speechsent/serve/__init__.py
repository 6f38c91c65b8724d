"""The service: a model behind HTTP and a socket for live streams, and its page."""

from sklearn_speechsent.serve.settings import Settings

__all__ = ["Settings"]

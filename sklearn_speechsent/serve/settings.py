"""Settings of a service: where it listens, who may use it, and its limits."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Settings of a service.

    Parameters
    ----------
    host : str, default="127.0.0.1"
        Address that it listens at. Others than those of this machine need a token.
    port : int, default=8000
    token : str, optional
        Clients must know it.
    origins : tuple of str, default=()
        Other sites whose pages may ask, ``"https://example.org"``.
    max_mb : float, default=25.0
        Largest upload, in millions of bytes.
    max_seconds : float, default=600.0
        Longest recording that is uploaded.
    max_streams : int, default=20
        Streams at a time.
    workers : int, default=2
        Processes that score recordings, and as many that follow streams.
    queue : int, default=32
        Requests that may wait for a process.
    timeout : float, default=180.0
        Seconds in which a request is answered, waiting included.

    Raises
    ------
    ValueError
        If a limit is not positive, or a token is missing.

    Examples
    --------
    >>> Settings(max_mb=0.5).max_bytes
    500000
    >>> Settings(host="0.0.0.0")
    Traceback (most recent call last):
        ...
    ValueError: At 0.0.0.0 others can reach the service, which then needs a token: ...
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    origins: tuple[str, ...] = ()
    max_mb: float = 25.0
    max_seconds: float = 600.0
    max_streams: int = 20
    workers: int = 2
    queue: int = 32
    timeout: float = 180.0

    def __post_init__(self) -> None:
        for name in ("max_mb", "max_seconds", "timeout", "workers"):
            if not 0 < getattr(self, name) < 1e9:
                raise ValueError(f"{name}={getattr(self, name)} must be more than 0.")
        for name in ("max_streams", "queue"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must not be negative.")
        if not self.token and not _is_local(self.host):
            raise ValueError(
                f"At {self.host} others can reach the service, which then needs a token: set "
                "SPEECHSENT_TOKEN, or pass --token. Without one it listens at 127.0.0.1."
            )

    @property
    def max_bytes(self) -> int:
        """Largest upload in bytes."""
        return round(self.max_mb * 1e6)


def _is_local(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, which may be any machine
        return False

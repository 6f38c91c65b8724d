"""Refusals: what a client is told when it does not get what it asked for."""

from __future__ import annotations


class Refusal(Exception):
    """An answer that is an error; nothing in it speaks of the machine.

    Parameters
    ----------
    status : int
        Of HTTP.
    code : str
        For programs.
    message : str
        For people: what was found, and what to do.
    close : int, default=1008
        With which a socket is closed.

    Examples
    --------
    >>> Refusal(413, "too_large", "The recording is too large.").content()
    {'error': {'code': 'too_large', 'message': 'The recording is too large.'}}
    """

    def __init__(self, status: int, code: str, message: str, close: int = 1008) -> None:
        super().__init__(status, code, message, close)  # so that it can be pickled
        self.status = status
        self.code = code
        self.message = message
        self.close = close

    def content(self) -> dict[str, dict[str, str]]:
        """JSON of an answer.

        Returns
        -------
        dict
        """
        return {"error": {"code": self.code, "message": self.message}}


def busy(message: str) -> Refusal:
    """Refusal for which the service has too much to do.

    Parameters
    ----------
    message : str

    Returns
    -------
    Refusal
    """
    return Refusal(503, "busy", f"{message} Try again in a moment.", close=1013)


def closing() -> Refusal:
    """Refusal of a service that ends.

    Returns
    -------
    Refusal
    """
    return Refusal(503, "closing", "The service is ending. Try again in a moment.", close=1012)

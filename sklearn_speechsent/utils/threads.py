"""Number of threads of torch, set where the work is done."""

from collections.abc import Iterator
from contextlib import contextmanager

import joblib
import torch


@contextmanager
def torch_threads(n_jobs: int | None) -> Iterator[None]:
    """Let torch use ``n_jobs`` threads for a while.

    joblib's process workers have one torch thread each, its thread workers all of them. Code that
    may run in either sets the number it needs, and restores it afterwards.

    Parameters
    ----------
    n_jobs : int or None
        In joblib's reading: -1 is all cores (one inside a process worker). None changes nothing.

    Examples
    --------
    >>> import torch
    >>> before = torch.get_num_threads()
    >>> with torch_threads(1):
    ...     torch.get_num_threads()
    1
    >>> torch.get_num_threads() == before
    True
    """
    if n_jobs is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, joblib.effective_n_jobs(n_jobs)))
    try:
        yield
    finally:
        torch.set_num_threads(before)

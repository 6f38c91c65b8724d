"""Configuration of joblib for a Dask cluster whose workers may fail."""

from __future__ import annotations

from typing import Any

import joblib

# Not public, but the only way to send arguments along with tasks.
from joblib._dask import DaskDistributedBackend


class _TaskByTaskBackend(DaskDistributedBackend):
    """joblib's backend for Dask, with the arguments of each task sent along with it."""

    def start_call(self) -> None:
        super().start_call()
        self.call_data_futures: dict[Any, Any] | None = None

    def stop_call(self) -> None:
        self.call_data_futures = {}
        super().stop_call()

    def get_nested_backend(self) -> tuple[_TaskByTaskBackend, int]:
        return _TaskByTaskBackend(client=self.client), -1

    def __reduce__(self) -> tuple[Any, ...]:
        return _TaskByTaskBackend, ()


def dask_config(client: Any = None, **options: Any) -> joblib.parallel_config:
    """Configure joblib, and so scikit-learn, for a Dask cluster whose workers may fail.

    Like ``joblib.parallel_config(backend="dask")``, under which a search does not survive the loss
    of a worker: arrays of more than a kilobyte, the rows of a fold among them, are then given to
    one worker, from which the others fetch them. Here each task carries them. That costs little as
    long as X is a table of files, or frames that lie in a
    :class:`~sklearn_speechsent.FeatureStore`; frames in memory would travel with every task.

    Parameters
    ----------
    client : distributed.Client, optional
        By default the newest one.
    **options : dict
        For every task, as ``Client.submit`` takes them: ``resources={"GPU": 1}``, ``retries=3``.

    Returns
    -------
    joblib.parallel_config
        Context manager.

    Raises
    ------
    ValueError
        If Dask is not installed, or there is no client.

    Examples
    --------
    >>> from distributed import Client
    >>> from sklearn_speechsent.cluster import dask_config
    >>> client = Client("tcp://scheduler:8786")  # doctest: +SKIP
    >>> with dask_config(client):  # doctest: +SKIP
    ...     search.fit(wav_paths, labels, groups=speakers)
    """
    return joblib.parallel_config(backend=_TaskByTaskBackend(client=client, **options))

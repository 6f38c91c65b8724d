"""Features of the CMU-MOSEI experiment: time and space, extraction, also on a cluster."""

import shutil
import tempfile
import time
from contextlib import nullcontext

import joblib
import numpy as np
from sklearn.base import clone

from experiments._harness.results import key_of
from experiments._harness.tables import duration
from experiments.cmu_mosei.corpus import seconds_of
from sklearn_speechsent import FeatureStore

#: Segments of a trial before the extraction, at most.
N_TRIED = 16
GIB = 2**30


def rehearse(systems, X, store):
    """Run all steps on a few segments, and estimate time and space for all of them.

    Parameters
    ----------
    systems : dict of str to Pipeline
        Of frozen steps.
    X : DataFrame
        Segments.
    store : FeatureStore
        Of the features.

    Raises
    ------
    ValueError
        If the disk has not enough room.
    """
    n_tried = int(np.clip(len(X) // 50, 2, N_TRIED))
    rows = np.linspace(0, len(X) - 1, n_tried + 1).astype(int)
    first, others = X.iloc[rows[:1]], X.iloc[rows[1:]]
    n_times = np.nansum(seconds_of(X)) / np.nansum(seconds_of(others))
    print(f"\nFeatures of {len(X)} segments in {store.folder}, estimated from {n_tried}:")
    total_seconds = total_bytes = 0.0
    # A store of its own, as features of an earlier run would make the estimate too low.
    with tempfile.TemporaryDirectory() as folder:
        trial = FeatureStore(folder, dtype=store.dtype)
        for name, system in systems.items():
            steps = _with_each_step(system, memory=trial)
            steps.fit_transform(first)  # which loads networks, once
            before, started = trial.summary()["bytes"].sum(), time.perf_counter()
            steps.transform(others)
            seconds = n_times * (time.perf_counter() - started)
            n_bytes = n_times * (trial.summary()["bytes"].sum() - before)
            print(f"  {name}: {n_bytes / GIB:.2f} GiB, {duration(seconds)}")
            total_seconds, total_bytes = total_seconds + seconds, total_bytes + n_bytes
    there, free = store.summary()["bytes"].sum(), shutil.disk_usage(store.folder.parent).free
    print(
        f"In all {total_bytes / GIB:.2f} GiB and {duration(total_seconds)} on this machine; "
        f"{there / GIB:.2f} GiB are stored already, {free / GIB:.1f} are free."
    )
    if total_bytes - there > free:
        raise ValueError(
            f"Features take {total_bytes / GIB:.1f} GiB, and {free / GIB:.1f} are free in "
            f"{store.folder}. Take a larger disk (--out), half the space (--float16), or leave "
            "out the system that takes most of it (--systems)."
        )


def extract(systems, X, connection=None):
    """Compute the features of all segments into the store.

    Parameters
    ----------
    systems : dict of str to Pipeline
        Of frozen steps, which have a store.
    X : DataFrame
        Segments.
    connection : Client, optional
        Of a Dask cluster, whose workers do the work; threads without it.
    """
    done = set()
    with nullcontext() if connection is None else joblib.parallel_config(backend="dask"):
        for name, system in systems.items():
            if (key := key_of(system)) not in done:
                print(f"Extraction: {name}")
                _with_each_step(system, verbose=1).fit_transform(X)
                done.add(key)


def connect(scheduler):
    """Connect to a Dask cluster whose workers see the same files at the same paths.

    Parameters
    ----------
    scheduler : str or None
        Its address.

    Returns
    -------
    Client or None

    Raises
    ------
    ValueError
        If Dask is not installed.
    OSError
        If there is no answer.
    """
    if scheduler is None:
        return None
    try:
        from distributed import Client
    except ImportError:
        raise ValueError("--scheduler needs Dask: pip install distributed") from None
    try:
        return Client(scheduler, timeout=10)
    except OSError as exception:
        raise OSError(
            f"No Dask scheduler answers at {scheduler} ({exception}). Start one (dask scheduler), "
            "or leave out --scheduler."
        ) from exception


def _with_each_step(system, **params):
    """Copy of a Pipeline with values of parameters set in all steps that have them."""
    steps = clone(system)
    for name in steps.get_params():
        step, _, parameter = name.rpartition("__")
        if step and parameter in params:
            steps.set_params(**{name: params[parameter]})
    return steps

"""Tiny recordings, features made of numbers, and checks of a store's folder."""

import numpy as np
import soundfile
from sklearn.base import clone

from sklearn_speechsent import FeatureStore
from sklearn_speechsent.store import digest
from sklearn_speechsent.store.compute import compute_missing

#: Suffixes of the files that a step leaves in its folder.
TIDY = (".npy", ".json")


def short_recordings(folder, n, seed=0):
    """Paths of recordings of a quarter of a second, none as long as another."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(n):
        paths.append(str(folder / f"{number:03d}.wav"))
        samples = rng.normal(0, 0.05, 3000 + 20 * number)
        soundfile.write(paths[-1], samples, 16000)
    return paths


def key(name):
    return digest(str(name).encode())


def made_of(name):
    """Frames that depend on a number."""
    return np.random.default_rng(name).normal(size=(name % 5 + 1, 3)).astype(np.float32)


def put(cache, names, made=made_of, **options):
    """Compute what is missing in a cache; gives the names that were computed."""
    computed = []

    def function(batch):
        for name in batch:
            computed.append(name)
            yield made(name)

    keys = [key(name) for name in names]
    problems = compute_missing(
        cache, keys, lambda rows: [names[row] for row in rows], function, **options
    )
    assert not problems
    return computed


def a_step_cache(folder, step="cmn", **options):
    return FeatureStore(folder, **options).step_cache(step, {})


def assert_stored(cache, names, made=made_of):
    cache.refresh()
    base, starts, stops = cache.frames([key(name) for name in names])
    for name, start, stop in zip(names, starts, stops, strict=True):
        np.testing.assert_array_equal(base[start:stop], made(name))


def assert_same_frames(frames, expected):
    """Bit for bit."""
    assert len(frames) == len(expected)
    for utterance, right in zip(frames, expected, strict=True):
        assert utterance.dtype == right.dtype
        np.testing.assert_array_equal(utterance, right)


def uncached(estimator):
    """Copy that stores nothing."""
    twin = clone(estimator)
    names = [name for name in twin.get_params() if name.split("__")[-1] == "memory"]
    return twin.set_params(**dict.fromkeys(names))


def misses(store, act):
    """Utterances that were computed while something was done, by step."""
    before = counts(store)["misses"]
    result = act()
    new = counts(store)["misses"].sub(before, fill_value=0).astype(int)
    return result, {step: n for step, n in new.items() if n}


def counts(store):
    return store.summary().groupby("step")[["hits", "misses"]].sum()


def strays(folder):
    """Files that should not be there once no process is at work."""
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix not in TIDY]

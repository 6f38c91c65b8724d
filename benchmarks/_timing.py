"""Times of contestants that do the same work in turns, as tables and pictures."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from experiments._harness.pictures import pyplot, save_figure

#: Variables that libraries read the number of their threads from, when they are imported.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def on_cores(function: Callable[..., Any], n_cores: int, *arguments: Any) -> Any:
    """Call a function in a fresh process that has a number of cores, and as many threads.

    Parameters
    ----------
    function : callable
        Of a module, so that it can be found there.
    n_cores : int
    *arguments : object

    Returns
    -------
    object
        What the function returns.
    """
    cores = os.sched_getaffinity(0)
    if n_cores > len(cores):
        raise SystemExit(f"{n_cores} cores are asked for, and this process may use {len(cores)}.")
    environment = {name: os.environ.get(name) for name in _THREADS}
    try:
        # A child inherits both, and libraries read them before any code of ours runs.
        os.environ.update(dict.fromkeys(_THREADS, str(n_cores)))
        os.sched_setaffinity(0, sorted(cores)[-n_cores:])
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(function, *arguments).result()
    finally:
        os.sched_setaffinity(0, cores)
        for name, value in environment.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def take_turns(
    contestants: dict[str, Callable[[], Any]], rounds: int = 7
) -> dict[str, list[float]]:
    """Seconds of each contestant in each round, after one that is not counted.

    In every round each has one turn, and each round begins with another one, so that a minute in
    which the machine is slow is slow for all.

    Parameters
    ----------
    contestants : dict of str to callable
    rounds : int, default=7

    Returns
    -------
    dict of str to list of float
    """
    names = list(contestants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            started = time.perf_counter()
            contestants[name]()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def ratio(seconds: dict[str, list[float]], name: str, to: str) -> float:
    """How many times as long ``name`` took as ``to``: the median over the rounds.

    Parameters
    ----------
    seconds : dict of str to list of float
        Of :func:`take_turns`.
    name, to : str

    Returns
    -------
    float
    """
    pairs = zip(seconds[name], seconds[to], strict=True)
    return statistics.median(theirs / ours for theirs, ours in pairs)


def rows_of(seconds: dict[str, list[float]], to: str) -> list[list[str]]:
    """Name, median and range in milliseconds, and ratio to ``to``, of each contestant.

    Parameters
    ----------
    seconds : dict of str to list of float
        Of :func:`take_turns`.
    to : str

    Returns
    -------
    list of list of str
    """
    rows = []
    for name, times in seconds.items():
        low, median, high = (1000 * f(times) for f in (min, statistics.median, max))
        rows.append(
            [name, f"{median:.3g}", f"{low:.3g} – {high:.3g}", f"{ratio(seconds, name, to):.2f}"]
        )
    return rows


def draw_ratios(path: Path, groups: dict[str, dict[str, float]]) -> None:
    """Draw one panel of bars per group: how many times as long each contestant takes as ours.

    Parameters
    ----------
    path : Path
        Of the picture.
    groups : dict of str to dict of str to float
        By title of the panel and name of the contestant; ours is the one at 1.
    """
    sizes = [len(bars) for bars in groups.values()]
    figure, axes = pyplot().subplots(
        len(groups),
        figsize=(9, 0.32 * sum(sizes) + 0.9 * len(groups)),
        height_ratios=sizes,
        squeeze=False,
        layout="constrained",
    )
    for axis, (title, bars) in zip(axes[:, 0], groups.items(), strict=True):
        colors = ["tab:blue" if value == 1 else "silver" for value in bars.values()]
        drawn = axis.barh(list(bars), list(bars.values()), color=colors)
        axis.bar_label(drawn, fmt="%.2f", padding=3)
        axis.axvline(1, color="tab:blue", linewidth=0.8)
        axis.set_xlim(0, 1.12 * max(bars.values()))
        axis.invert_yaxis()
        axis.set_title(title, loc="left", fontsize="medium")
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1, 0].set_xlabel("time, ours being 1")
    save_figure(path, figure)

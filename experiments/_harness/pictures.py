"""Pictures without a screen, written in full or not at all."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from sklearn_speechsent.metrics import LevelConfusionDisplay
from sklearn_speechsent.utils.files import atomic_write


def pyplot() -> Any:
    """Return matplotlib's module of that name, with a backend that needs no screen."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def save_figure(path: Path, figure: Any, **settings: Any) -> None:
    """Write a figure as PNG, and close it.

    Parameters
    ----------
    path : Path
    figure : Figure
    **settings
        Of its ``savefig``.
    """
    image = BytesIO()
    figure.savefig(image, **{"format": "png", "dpi": 120, **settings})
    atomic_write(path, image.getvalue())
    pyplot().close(figure)


def draw_display(path: Path, make: Callable[[], Any], title: str | None = None) -> None:
    """Draw a display into a file, if matplotlib is installed.

    Parameters
    ----------
    path : Path
    make : callable
        Gives a display, drawn.
    title : str, optional
    """
    if importlib.util.find_spec("matplotlib") is None:
        return
    pyplot()
    display = make()
    if title is not None:
        display.ax_.set_title(title)
    save_figure(path, display.figure_, dpi=150, bbox_inches="tight")


def draw_confusion(path: Path, y: Any, predictions: Any, levels: Any, title: str) -> None:
    """Draw the confusion of levels, if matplotlib is installed.

    Parameters
    ----------
    path : Path
    y, predictions : array-like of shape (n,)
    levels : sequence of int
    title : str
    """
    draw_display(
        path,
        lambda: LevelConfusionDisplay.from_predictions(y, predictions, levels=levels),
        title,
    )


def draw_losses(path: Path, losses: dict[str, list[list[float]]]) -> None:
    """Draw the loss of training by epoch, a panel for each network with a line for each fold.

    Parameters
    ----------
    path : Path
    losses : dict of str to list of list of float
        By network, fold and epoch; without a network nothing is drawn.
    """
    if not losses:
        return
    n_columns = min(3, len(losses))
    n_rows = -(-len(losses) // n_columns)
    size = (4 * n_columns, 2.6 * n_rows)
    figure, axes = pyplot().subplots(
        n_rows, n_columns, figsize=size, squeeze=False, constrained_layout=True
    )
    for axis, (name, folds) in zip(axes.flat, losses.items(), strict=False):
        for fold in folds:
            axis.plot(range(1, len(fold) + 1), fold, color="C0", alpha=0.5, linewidth=1)
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("epoch")
        axis.set_ylabel("training loss")
    for axis in axes.flat[len(losses) :]:
        axis.axis("off")
    save_figure(path, figure)

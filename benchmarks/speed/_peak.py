"""The processor's peak in floating-point operations per second, as libraries reach it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

#: Rows and columns of the matrices.
SIZE = 2048
#: Channels, height and width of the convolution of 3 x 3.
CHANNELS, HEIGHT, WIDTH = 256, 64, 64


class Peak:
    """A large matrix product and a large convolution in one type; the faster of them is the peak.

    One alone would do on most processors. On those where the library of matrix products leaves the
    widest instructions alone, convolutions are twice as fast.

    Parameters
    ----------
    dtype : {"float32", "bfloat16"}

    Attributes
    ----------
    runs : dict of str to callable
        Contestants of :func:`benchmarks._timing.take_turns`.
    """

    def __init__(self, dtype: str) -> None:
        kind = getattr(torch, dtype)
        a, b = (torch.randn(SIZE, SIZE).to(kind) for _ in range(2))
        maps, kernel = (
            torch.randn(shape).to(kind, memory_format=torch.channels_last)
            for shape in ((1, CHANNELS, HEIGHT, WIDTH), (CHANNELS, CHANNELS, 3, 3))
        )
        product, convolution = f"matrix product, {dtype}", f"convolution, {dtype}"
        self.runs: dict[str, Callable[[], Tensor]] = {
            product: lambda: a @ b,
            convolution: lambda: F.conv2d(maps, kernel, padding=1),
        }
        # Two per multiplication; the border of the maps has fewer.
        inside = (3 * HEIGHT - 2) * (3 * WIDTH - 2)
        self._work = {product: 2 * SIZE**3, convolution: 2 * CHANNELS**2 * inside}

    def pop(self, seconds: dict[str, list[float]]) -> float:
        """Take the times of the runs out of those of all contestants.

        Parameters
        ----------
        seconds : dict of str to list of float
            By contestant, as ``take_turns`` gives them.

        Returns
        -------
        float
            Operations per second.
        """
        return max(work / min(seconds.pop(name)) for name, work in self._work.items())

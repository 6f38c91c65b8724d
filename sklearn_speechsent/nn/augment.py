"""SpecAugment on padded batches of frames."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SpecAugment:
    """Set random stretches of frames and of mel bins to zero, differently for each utterance.

    Maps of frozen blocks and layers of an encoder can lose stretches of time alone, with
    ``n_frequency_masks=0``: neighbouring values of a layer have nothing in common that a band
    could hide. The number of masks of an utterance and axis is drawn from 0 … n, each width from
    0 … maximum, both inclusive and uniform.

    Parameters
    ----------
    n_time_masks : int, default=2
        Most time masks.
    n_frequency_masks : int, default=2
        Most frequency masks.
    max_time_width : int, default=10
        Widest time mask (frames).
    max_frequency_width : int, default=5
        Widest frequency mask (bins).

    Raises
    ------
    ValueError
        If a parameter is negative.

    References
    ----------
    D. S. Park et al., "SpecAugment: A simple data augmentation method for automatic speech
    recognition", Interspeech 2019.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import SpecAugment
    >>> augment = SpecAugment(max_time_width=20)
    >>> augment
    SpecAugment(n_time_masks=2, n_frequency_masks=2, max_time_width=20, max_frequency_width=5)
    >>> lengths = torch.tensor([50, 100])
    >>> augment(torch.rand(2, 100, 80), lengths, torch.Generator().manual_seed(0)).shape
    torch.Size([2, 100, 80])
    """

    n_time_masks: int = 2
    n_frequency_masks: int = 2
    max_time_width: int = 10
    max_frequency_width: int = 5

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0:
                raise ValueError(f"{name} must not be negative, got {value}.")

    def __call__(
        self, x: Tensor, lengths: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Mask a batch.

        Parameters
        ----------
        x : Tensor of shape (B, T, D) or (B, T, C, F)
            Frames, with their mean subtracted so that zero is neutral; or maps or layers.
        lengths : Tensor of shape (B,), int64
            Valid frames of each utterance; time masks lie within them.
        generator : torch.Generator, default=None
            The only source of randomness; None uses torch's global one.

        Returns
        -------
        Tensor of the shape of `x`
            A new tensor.

        Raises
        ------
        ValueError
            If `x` has another number of axes, or four and there are frequency masks.
        """
        if x.ndim not in (3, 4):
            raise ValueError(
                "SpecAugment masks frames of shape (B, T, D) or maps of shape (B, T, C, F), got "
                f"shape {tuple(x.shape)}."
            )
        if x.ndim == 4 and self.n_frequency_masks:
            raise ValueError(
                "SpecAugment masks bands of frames of shape (B, T, D), and these are maps or "
                f"layers of an encoder, of shape {tuple(x.shape)}, whose values are not bands. "
                "SpecAugment(n_frequency_masks=0) masks stretches of time alone."
            )
        n_frames, n_bins = x.shape[1], x.shape[-1]
        time = self._stretches(lengths, n_frames, self.n_time_masks, self.max_time_width, generator)
        masked = time.view(*time.shape, *[1] * (x.ndim - 2))
        if self.n_frequency_masks:
            bins = torch.full_like(lengths, n_bins)
            masked = masked | self._stretches(
                bins, n_bins, self.n_frequency_masks, self.max_frequency_width, generator
            ).unsqueeze(1)
        return x.masked_fill(masked, 0.0)

    @staticmethod
    def _stretches(
        sizes: Tensor,
        n_cells: int,
        n_masks: int,
        max_width: int,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Draw masks along one axis: True of shape (B, n_cells) where a cell is masked."""
        device = sizes.device if generator is None else generator.device

        def draw(*shape: int) -> Tensor:
            # In float64 u·n never rounds up to n.
            u = torch.rand(shape, generator=generator, device=device, dtype=torch.float64)
            return u.to(sizes.device)

        counts = (draw(len(sizes), 1) * (n_masks + 1)).long()
        widths = (draw(len(sizes), n_masks) * (max_width + 1)).long()
        widths = torch.minimum(widths, sizes[:, None])
        starts = (draw(len(sizes), n_masks) * (sizes[:, None] - widths + 1)).long()
        widths = widths * (torch.arange(n_masks, device=sizes.device) < counts)
        cells = torch.arange(n_cells, device=sizes.device)
        started = cells >= starts[:, :, None]
        return (started & (cells < (starts + widths)[:, :, None])).any(1)

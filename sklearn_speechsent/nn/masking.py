"""Masks of valid frames in padded batches, so that padding does not change a result."""

import torch
from torch import Tensor


def frame_mask(lengths: Tensor, n_frames: int) -> Tensor:
    """Mark the valid frames of a padded batch.

    Parameters
    ----------
    lengths : Tensor of shape (B,), int64
        Valid frames of each utterance.
    n_frames : int
        Frames of the padded batch, T.

    Returns
    -------
    Tensor of shape (B, T), bool
        True where a frame is valid, False where it is padding.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import frame_mask
    >>> frame_mask(torch.tensor([1, 3]), 3).int()
    tensor([[1, 0, 0],
            [1, 1, 1]], dtype=torch.int32)
    """
    return torch.arange(n_frames, device=lengths.device) < lengths[:, None]


def strided_lengths(lengths: Tensor, stride: int) -> Tensor:
    """Count the valid frames that are left after a strided convolution.

    Parameters
    ----------
    lengths : Tensor of shape (B,), int64
        Valid frames before.
    stride : int
        Stride over time.

    Returns
    -------
    Tensor of shape (B,), int64
        ``ceil(lengths / stride)``.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn import strided_lengths
    >>> strided_lengths(torch.tensor([1, 4, 5]), 2)
    tensor([1, 2, 3])
    """
    return (lengths + (stride - 1)) // stride


def is_symbolic() -> bool:
    """Tell whether a graph is being recorded, in which no value may decide what is computed.

    Returns
    -------
    bool
        True while torch compiles, exports or traces.

    Examples
    --------
    >>> from sklearn_speechsent.nn.masking import is_symbolic
    >>> is_symbolic()
    False
    """
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def has_padding(lengths: Tensor, n_frames: int) -> bool:
    """Tell whether any utterance is shorter than the padded batch.

    Masking is skipped when nothing is padded. An exported or traced graph must serve every
    length, so there the answer is always yes; and on a device other than the processor, where
    looking at the lengths would wait for all that is being computed.

    Parameters
    ----------
    lengths : Tensor of shape (B,), int64
        Valid frames of each utterance.
    n_frames : int
        Frames of the padded batch, T.

    Returns
    -------
    bool
        False only when all T frames of all utterances are valid, and known to be.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn.masking import has_padding
    >>> has_padding(torch.tensor([3, 3]), 3), has_padding(torch.tensor([1, 3]), 3)
    (False, True)
    """
    if is_symbolic() or lengths.device.type != "cpu":
        return True
    return int(lengths.min()) < n_frames


def zero_padding(x: Tensor, lengths: Tensor) -> Tensor:
    """Set the frames beyond each utterance's length to zero.

    Filling instead of multiplying stops even NaN in the padding.

    Parameters
    ----------
    x : Tensor of shape (B, ..., T)
        Maps with time last.
    lengths : Tensor of shape (B,), int64
        Valid frames of each utterance.

    Returns
    -------
    Tensor of shape (B, ..., T)
        `x` itself when nothing is padded.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn.masking import zero_padding
    >>> zero_padding(torch.ones(2, 3), torch.tensor([1, 3]))
    tensor([[1., 0., 0.],
            [1., 1., 1.]])
    """
    if not has_padding(lengths, x.shape[-1]):
        return x
    if _goes_by_rows(x):
        return zero_padding_(x.clone(), lengths)
    return x.masked_fill(~_as_mask_of(x, lengths), 0.0)


def zero_padding_(x: Tensor, lengths: Tensor) -> Tensor:
    """Set the frames beyond each utterance's length to zero, in place.

    For maps a module has just computed itself, whose padding is finite: on the CPU this costs a
    few per cent of a convolution, `zero_padding` nearly as much as one.

    Parameters
    ----------
    x : Tensor of shape (B, ..., T)
        Maps with time last, finite also in the padding.
    lengths : Tensor of shape (B,), int64
        Valid frames of each utterance.

    Returns
    -------
    Tensor of shape (B, ..., T)
        `x` itself.

    Examples
    --------
    >>> import torch
    >>> from sklearn_speechsent.nn.masking import zero_padding_
    >>> zero_padding_(torch.ones(2, 3), torch.tensor([1, 3]))
    tensor([[1., 0., 0.],
            [1., 1., 1.]])
    """
    if not has_padding(lengths, x.shape[-1]):
        return x
    if not _goes_by_rows(x):
        return x.mul_(_as_mask_of(x, lengths).to(x.dtype))
    for row, length in zip(x, lengths.tolist(), strict=True):
        row[..., length:] = 0
    return x


def _goes_by_rows(x: Tensor) -> bool:
    """Whether to write to the padding only: on the CPU, without gradient and graph."""
    return x.device.type == "cpu" and not x.requires_grad and not is_symbolic()


def _as_mask_of(x: Tensor, lengths: Tensor) -> Tensor:
    return frame_mask(lengths, x.shape[-1]).view(x.shape[0], *[1] * (x.ndim - 2), -1)

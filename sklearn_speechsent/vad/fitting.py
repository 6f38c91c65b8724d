"""Masks of speech, and training of the detector on them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from sklearn_speechsent.frames import UtteranceFrames
from sklearn_speechsent.nn import frame_mask
from sklearn_speechsent.training.batch_norm import average_statistics
from sklearn_speechsent.training.data import RandomBatches, scoped_seed


def check_masks(masks: list[Any], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
    """Probabilities of speech of all frames, end to end.

    Parameters
    ----------
    masks : list of array-like of shape (n_frames_i,)
        Zeros and ones, booleans, or probabilities.
    lengths : ndarray of shape (n,)
        Frames of each utterance.

    Returns
    -------
    ndarray of shape (n_frames,), float32

    Raises
    ------
    ValueError
        If there is not one mask per utterance, or one value in [0, 1] per frame; the message
        names the row.
    """
    if len(masks) != len(lengths):
        raise ValueError(
            f"masks holds {len(masks)} utterances, X has {len(lengths)}: inconsistent numbers of "
            "samples. Pass one mask per utterance."
        )
    checked = []
    for row, (mask, length) in enumerate(zip(masks, lengths.tolist(), strict=True)):
        try:
            values = np.asarray(mask, dtype=np.float32)
        except (TypeError, ValueError) as exception:
            raise ValueError(
                f"Row {row} of masks holds {mask!r:.80} where numbers in [0, 1] are expected."
            ) from exception
        if values.ndim != 1:
            raise ValueError(
                f"Row {row} of masks has shape {values.shape}; a mask has one value per frame, "
                f"({length},)."
            )
        if len(values) != length:
            raise ValueError(
                f"Row {row} has {length} frames, its mask {len(values)} values. Make masks of "
                "the frames that X has."
            )
        wrong = ~((values >= 0) & (values <= 1))
        if wrong.any():
            frame = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"Row {row} of masks holds {values[frame]} at frame {frame}; masks hold 0 and 1, "
                "or probabilities in between. Correct it, or leave the row out of X and masks."
            )
        checked.append(values)
    return np.concatenate(checked)


#: Frames, valid frames per row, and targets of one batch.
FrameBatch = tuple[Tensor, Tensor, Tensor]


class FrameChunks:
    """Random chunks of utterances with a target per frame, drawn again in every pass.

    A pass takes as many chunks of an utterance as it is long, so that all frames are seen about
    equally often. Each batch is one gather from the flat base, however many chunks it has.

    Parameters
    ----------
    frames : UtteranceFrames
    targets : ndarray of shape (n_frames,)
        Targets of all utterances end to end, in their order.
    chunk : int
        Longest chunk in frames; shorter utterances are taken whole.
    batch_size : int
        Largest number of chunks in a batch.
    rng : RandomState
    """

    def __init__(
        self,
        frames: UtteranceFrames,
        targets: NDArray[np.float32],
        chunk: int,
        batch_size: int,
        rng: np.random.RandomState,
    ) -> None:
        self.base = frames.base
        self.targets = targets
        self.rng = rng
        # One entry per chunk: where its utterance begins in the base and in the targets.
        lengths = frames.lengths
        n_chunks = -(-lengths // chunk)
        self.starts = np.repeat(frames.starts, n_chunks)
        self.target_starts = np.repeat(np.cumsum(lengths) - lengths, n_chunks)
        self.lengths = np.repeat(np.minimum(lengths, chunk), n_chunks)
        self.spare = np.repeat(lengths, n_chunks) - self.lengths
        self.rows = RandomBatches(len(self.starts), batch_size, rng)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[FrameBatch]:
        for rows in self.rows:
            lengths = self.lengths[rows]
            offsets = self.rng.randint(0, self.spare[rows] + 1)
            positions = np.arange(lengths.max())
            # Padding repeats the chunk's first frame, which the loss masks.
            within = np.where(positions < lengths[:, None], positions, 0) + offsets[:, None]
            x = self.base[self.starts[rows, None] + within]
            targets = self.targets[self.target_starts[rows, None] + within]
            yield (
                torch.from_numpy(x).float(),
                torch.from_numpy(lengths),
                torch.from_numpy(targets).float(),
            )


def train_on_frames(
    network: nn.Module,
    chunks: FrameChunks,
    *,
    max_epochs: int,
    lr: float,
    random_state: np.random.RandomState,
    verbose: int = 0,
) -> list[float]:
    """Train a network of one logit per frame from where it is, and leave it in eval mode.

    AdamW on the cross-entropy of the frames, the learning rate falling to zero along half a
    cosine; afterwards the statistics of batch normalisation are estimated again.

    Parameters
    ----------
    network : Module
        Called as ``network(x, lengths)``.
    chunks : FrameChunks
    max_epochs : int
    lr : float
        Learning rate of the first step.
    random_state : RandomState
        Seeds what the network itself draws; the global generators stay as they are.
    verbose : int, default=0
        Whether to show a progress bar over the epochs.

    Returns
    -------
    list of float
        Mean loss of each epoch.

    Raises
    ------
    FloatingPointError
        If the loss becomes infinite or NaN.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr)
    n_steps = max_epochs * len(chunks)
    losses: list[float] = []
    step = 0
    with scoped_seed(int(random_state.randint(np.iinfo(np.int32).max)), "cpu"):
        network.train()
        epochs = tqdm(range(max_epochs), desc="training", unit="epoch", disable=not verbose)
        for epoch in epochs:
            total = 0.0
            for x, lengths, targets in chunks:
                for group in optimizer.param_groups:
                    group["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / n_steps))
                optimizer.zero_grad()
                loss = frame_loss(network(x, lengths), lengths, targets)
                if not torch.isfinite(loss):
                    raise FloatingPointError(
                        f"The training loss became {loss.item()} in epoch {epoch + 1}. Lower "
                        f"lr={lr}, or look at the scale of X."
                    )
                loss.backward()
                optimizer.step()
                total += loss.item()
                step += 1
            losses.append(total / len(chunks))
            epochs.set_postfix(loss=f"{losses[-1]:.4f}")
        average_statistics(network, chunks, lambda batch: network(batch[0], batch[1]))
    network.eval()
    return losses


def frame_loss(logits: Tensor, lengths: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of the valid frames.

    Parameters
    ----------
    logits : Tensor of shape (B, T)
    lengths : Tensor of shape (B,), int64
        Valid frames of each row.
    targets : Tensor of shape (B, T)
        Probabilities; padding may hold any number.

    Returns
    -------
    Tensor
        Scalar.
    """
    valid = frame_mask(lengths, logits.shape[1])
    return F.binary_cross_entropy_with_logits(logits[valid], targets[valid])

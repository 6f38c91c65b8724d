"""Docstring sections that the two networks have in common."""

from __future__ import annotations

import textwrap
from typing import TypeVar

_T = TypeVar("_T", bound=type)

_PARAMETERS = """
module : type or Module, default=SentimentNetwork
    Architecture. Its own parameters are passed with the prefix ``module__``, among them
    ``module__stext`` (16 or 34, size of the sentiment blocks), ``module__n_frozen_blocks`` and
    ``module__n_tuned_blocks`` (speaker blocks in the network), ``module__flatten_frequency`` and
    ``module__dropout``. What the data decide (channels, frequencies, levels) is inferred.
ordinal : {"coral", "corn", "condor", "clm", "ce"}, default="coral"
    Kind of the ordinal head: CORAL [2]_, CORN [3]_, CONDOR [4]_, cumulative link model, or plain
    cross-entropy.
two_headed : bool, default=False
    Train the regression head and the ordinal head together, each with a decoder of its own; the
    losses are summed. Predictions come from this estimator's head; see also the other face
    (``as_classifier``, ``as_regressor``).
levels : array-like of numbers, optional
    The ordinal scale. By default the levels that occur in ``y``; pass it where a fold may lack
    one.
prior_correction : bool, default=False
    Undo the shift of ``sampling_exponent`` when levels are predicted: class probabilities are
    multiplied by the ratio of the levels' natural and sampled frequencies.
weights : str, Path or SpeakerVerifier, optional
    Pre-trained speaker network for the speaker blocks in the network: name in the registry, file,
    or a fitted verifier inside a :class:`~sklearn.frozen.FrozenEstimator`. Its batch
    normalisation then stays as it was trained.
precision : {"float32", "bfloat16"}, default="float32"
    Of the arithmetic in training. bfloat16 halves the time on processors that have it, at its own
    rounding; predictions are made in float32.
chunk_duration : float or None, default=4.0
    Longer utterances are cut to a random stretch of so many seconds each time they are drawn in
    training; None trains on whole utterances. Prediction always sees all of an utterance.
spec_augment : bool or SpecAugment, default=True
    Mask random stretches of time and bands of frequency in training. True leaves maps of frozen
    blocks as they are.
sampling_exponent : float, default=0.0
    Utterances are drawn in training with a probability that goes with the frequency of their
    level to the power of minus this: 0 goes through the data as they are, 1 draws all levels
    equally often, as in [1]_.
lr : float, default=1e-3
    Learning rate.
lr_schedule : {"milestones", "plateau"} or None, default="milestones"
    Divide the learning rate by 10 after 60 % and 85 % of the epochs, or whenever the loss stops
    falling.
max_epochs : int, default=20
batch_size : int, default=32
    Utterances; at least 2.
early_stopping : bool, default=False
    Hold out a part of the data, stop when its loss has not improved for ``patience`` epochs, and
    keep the best state. With ``groups`` in ``fit``, whole speakers are held out.
validation_fraction : float, default=0.15
    Share of speakers (without groups: of utterances) held out.
patience : int, default=5
checkpoint : str, Path or None, default=None
    Folder in which the state of training is saved, every minute and after each epoch. A fit that
    was stopped, even by ``kill -9``, goes on there when the same one is started again (same
    parameters, data and versions; ``n_jobs``, ``verbose`` and the folder itself may differ), to
    the result that it would have had. A finished one is only read, with its history, so that a
    search that was stopped soon reaches the candidate it was at; with ``random_state=None`` its
    file is removed, since the next fit draws anew. Fits share a folder, also at the same time:
    files are named by a digest of what determines the result. Of callbacks of your own, data in
    attributes that end in ``_`` are kept. Classes and functions count by their names: after
    changing their code, or to train anew, delete the folder. Ctrl-C raises KeyboardInterrupt
    instead of ending training early.
n_jobs : int, optional
    Threads of torch; None leaves torch's setting, -1 uses all cores.
random_state : int, RandomState instance or None, default=None
    Seeds initial weights, the order of the data, chunks, masks and dropout. Global generators
    stay untouched.
verbose : int, default=0
    1 prints losses and time of each epoch.
criterion : type, default=SummedLoss
    How the heads' losses become one (``criterion__ordinal_weight`` and so on).
optimizer : type, default=torch.optim.Adam
    Its parameters are passed with the prefix ``optimizer__``.
callbacks : list of skorch callbacks, optional
device : str or torch.device, default="cpu"
warm_start : bool, default=False
    Go on from the last fit instead of starting over.
compile : bool, default=False
    Use ``torch.compile``.
iterator_train, iterator_valid : type, default=DataLoader
    What goes through the batches.
dataset, train_split, predict_nonlinearity
    Parameters of :class:`skorch.NeuralNet` that must stay as they are: data are batched and held
    out by utterance (see ``early_stopping``), and heads turn their outputs into predictions.
use_caching, torch_load_kwargs
    See :class:`skorch.NeuralNet`.
**kwargs : dict
    Parameters with a prefix: ``module__``, ``optimizer__``, ``criterion__``, ``callbacks__``,
    ``iterator_train__`` and so on.
"""

_ATTRIBUTES = """
module_ : SentimentNetwork
    The trained network.
history_ : skorch.history.History
    Losses and times of each epoch.
n_features_in_ : int
    Values per frame.
frame_shape_ : tuple of int
    Shape of a frame.
"""

_REFERENCES = """
.. [1] "Speech-only sentiment intensity from speaker-verification features", LREC 2022 (method).
.. [2] W. Cao, V. Mirjalili and S. Raschka, "Rank consistent ordinal regression for neural
   networks with application to age estimation", Pattern Recognition Letters 140, 2020.
.. [3] X. Shi, W. Cao and S. Raschka, "Deep neural networks for rank-consistent ordinal
   regression based on conditional probabilities", Pattern Analysis and Applications 26, 2023.
.. [4] G. Jenkinson et al., "CONDOR: universally rank-consistent ordinal regression with a deep
   neural network", 2021.
"""


def document(cls: _T) -> _T:
    """Fill the shared sections into a class docstring."""
    doc = cls.__doc__ or ""
    for name, text in (
        ("parameters", _PARAMETERS),
        ("attributes", _ATTRIBUTES),
        ("references", _REFERENCES),
    ):
        doc = doc.replace("    {" + name + "}", textwrap.indent(text.strip(), "    "))
    cls.__doc__ = doc
    return cls

"""Estimators of sentiment with a network: intensity as a number, level on an ordinal scale."""

from __future__ import annotations

import textwrap
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin

from sklearn_speechsent.metrics.exact import level_accuracy
from sklearn_speechsent.metrics.levels import nan_where
from sklearn_speechsent.nn import class_probabilities, cumulative_probabilities
from sklearn_speechsent.sentiment.intensity import IntensityMixin
from sklearn_speechsent.sentiment.nan_rows import warn_nan
from sklearn_speechsent.sentiment.net import SpeechSentimentNet
from sklearn_speechsent.training.net import Outputs

_T = TypeVar("_T", bound=type)

_PARAMETERS = """
module : type or Module, default=SentimentNetwork
    Architecture. Its own parameters are passed with the prefix ``module__``, among them
    ``module__stext`` (16 or 34, size of the sentiment blocks), ``module__stext_init`` (None or
    ``"speaker"``, their initial values), ``module__n_frozen_blocks`` and
    ``module__n_tuned_blocks`` (speaker blocks in the network), ``module__decoder`` (``"cgd"``,
    ``"stats"`` or ``"attentive"``), ``module__flatten_frequency`` and ``module__dropout``. What the
    data decide (channels, frequencies, levels) is inferred.
    :class:`~sklearn_speechsent.nn.EncoderNetwork` is for layers of a speech encoder, that is
    ``SpeechEncoder(pooling=None)``; ``module__hidden_size`` is among its parameters.
ordinal : {"coral", "corn", "condor", "clm", "ce", "sord"}, default="coral"
    Kind of the ordinal head: CORAL [2]_, CORN [3]_, CONDOR [4]_, cumulative link model, plain
    cross-entropy, or cross-entropy with soft labels (SORD [6]_).
two_headed : bool, default=False
    Train the regression head and the ordinal head together, each with a decoder of its own; the
    losses are summed. Predictions come from this estimator's head; ``as_classifier`` and
    ``as_regressor`` give a view with those of the other head.
levels : array-like, optional
    The ordinal scale: numbers, or text from the lowest to the highest level. By default the order
    of ``y`` if that is an ordered category, its columns if it is a table of votes, otherwise the
    whole numbers that labels are nearest to; pass it where a fold may lack a level, and where the
    scale is not of whole numbers.
on_error : {"raise", "nan"}, default="raise"
    What to do with utterances of NaN, as those of recordings that cannot be used or hold no
    speech. With ``"nan"`` a level of NaN is predicted for them, and ``fit`` leaves them out with a
    warning that counts them; otherwise both are errors that name the rows. Intensities and
    probabilities of such utterances are NaN in either case. NaN among numbers is an error with
    ``"raise"`` and the same as an utterance of NaN with ``"nan"``; infinity is always an error.
prior_correction : bool, default=False
    Undo the shift of ``sampling_exponent`` when levels are predicted: class probabilities are
    multiplied by the ratio of the levels' natural and sampled frequencies.
weights : str, Path or SpeakerVerifier, optional
    Pre-trained speaker network for the speaker blocks in the network, and for the sentiment blocks
    with ``module__stext_init="speaker"``: name in the registry, file, or a fitted verifier inside a
    :class:`~sklearn.frozen.FrozenEstimator`. Its batch normalisation then stays as it was trained.
precision : {"float32", "bfloat16"}, default="float32"
    Of the arithmetic in training. bfloat16 halves the time on processors that have it, at its own
    rounding; predictions are made in float32.
chunk_duration : float or None, default=4.0
    Longer utterances are cut to a random stretch of this many seconds each time they are drawn in
    training; None trains on whole utterances. Prediction always uses the whole utterance.
spec_augment : bool or SpecAugment, default=True
    Mask random stretches of time and bands of frequency in training. True leaves maps of frozen
    blocks and layers of an encoder as they are, which have no bands;
    ``SpecAugment(n_frequency_masks=0)`` masks stretches of their time.
sampling_exponent : float, default=0.0
    Utterances are drawn in training with a probability that goes with the frequency of their
    level to the power of minus this: 0 goes through the data as they are, 1 draws all levels
    equally often, as in [1]_.
lr : float, default=1e-3
    Learning rate.
lr_schedule : {"milestones", "plateau", "one-cycle"} or None, default="milestones"
    Divide the learning rate by 10 after 60 % and 85 % of the epochs, or whenever the loss stops
    falling; or raise it from zero in the first 15 % of all batches and lower it to zero along half
    a cosine. Groups of ``optimizer__param_groups`` keep the proportions of their rates.
max_gradient_norm : float, optional
    Steps are made with gradients of this norm at most, over all weights together; None leaves
    them as they are.
max_epochs : int, default=20
average_epochs : int, default=1
    The network ends with the mean of the weights of this number of last epochs [5]_, for which
    batch normalisation is estimated again. Not with ``early_stopping``.
batch_size : int, default=32
    Utterances; at least 2.
early_stopping : bool, default=False
    Hold out a part of the data, stop when its loss has not improved for ``patience`` epochs, and
    restore the best state. With ``groups`` in ``fit``, whole speakers are held out.
validation_fraction : float, default=0.15
    Share of speakers (without groups: of utterances) held out.
patience : int, default=5
resume : str, Path or None, default=None
    Folder in which the state of training is saved, every minute and after each epoch. A fit that
    was interrupted, even by ``kill -9``, resumes from it when the same fit is started again (same
    parameters, data and versions; ``n_jobs``, ``verbose`` and the folder itself may differ), and
    has the same result as without the interruption. A finished fit is only read, with its
    history, so that an interrupted search soon reaches the candidate it was at; with
    ``random_state=None`` its file is removed, since the next fit draws a new seed. Fits can share
    a folder, also at the same time: files are named by a digest of what determines the result. Of
    callbacks of your own, data in attributes that end in ``_`` are saved. Classes and functions
    count by their names: after changing their code, or to train again, delete the folder. Ctrl-C
    raises KeyboardInterrupt instead of ending training early.
n_jobs : int, optional
    Threads of torch; None leaves torch's setting, -1 uses all cores.
random_state : int, RandomState instance or None, default=None
    Seeds initial weights, the order of the data, chunks, masks and dropout; None takes a new seed
    in every fit. Torch's global generators stay untouched.
verbose : int, default=0
    1 prints losses and time of each epoch.
criterion : type, default=SummedLoss
    How the heads' losses become one (``criterion__ordinal_weight`` and so on).
optimizer : type, default=torch.optim.Adam
    Its parameters are passed with the prefix ``optimizer__``.
callbacks : list of skorch callbacks, optional
device : str or torch.device, default="cpu"
warm_start : bool, default=False
    Continue from the last fit instead of starting over.
compile : bool, default=False
    Use ``torch.compile``.
iterator_train, iterator_valid : type, default=DataLoader
    Class that loads the batches.
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
module_ : SentimentNetwork or EncoderNetwork
    The trained network.
history_ : skorch.history.History
    Losses and times of each epoch.
n_features_in_ : int
    Values per frame.
frame_shape_ : tuple of int
    Shape of a frame.
embedding_size_ : int
    Values of the embedding that comes with each utterance; 0 for none.
domain_ : dict of str to (float, float)
    Lowest and highest ``band_limit`` (Hz), ``duration`` (s) and share of ``speech`` of the
    recordings in ``fit``. Predictions for others give a
    :class:`~sklearn_speechsent.frames.DomainWarning`.
weights_ : SpeakerWeights or None
    Name, architecture and frame settings of the pre-trained weights, without their tensors.
prior_ratio_ : ndarray of shape (n_levels,)
    Natural divided by sampled frequency of each level; only with an ordinal head.
"""

_REFERENCES = """
.. [1] "Speech-only sentiment intensity from speaker-verification features", LREC 2022 (method).
.. [2] W. Cao, V. Mirjalili and S. Raschka, "Rank consistent ordinal regression for neural
   networks with application to age estimation", Pattern Recognition Letters 140, 2020.
.. [3] X. Shi, W. Cao and S. Raschka, "Deep neural networks for rank-consistent ordinal
   regression based on conditional probabilities", Pattern Analysis and Applications 26, 2023.
.. [4] G. Jenkinson et al., "CONDOR: universally rank-consistent ordinal regression with a deep
   neural network", 2021.
.. [5] P. Izmailov et al., "Averaging weights leads to wider optima and better generalization", UAI
   2018.
.. [6] R. Diaz and A. Marathe, "Soft labels for ordinal regression", CVPR 2019.
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


@document
class SpeechSentimentClassifier(ClassifierMixin, SpeechSentimentNet):
    """Sentiment level of utterances by a residual network with a rank-consistent ordinal head.

    A skorch estimator over :class:`~sklearn_speechsent.nn.SentimentNetwork`: sentiment blocks
    (StExt), optionally on top of speaker blocks (SRExt), a decoder that pools over time and
    frequency, and an ordinal head, CORAL by default. The predicted level is the number of
    thresholds exceeded with a probability above one half.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}
    levels_ : ndarray of shape (n_levels,)
        Levels in ordinal order.
    classes_ : ndarray of shape (n_levels,)
        Levels in the order of the columns of ``predict_proba``: sorted, as everywhere in
        scikit-learn. For numbers the same as ``levels_``, for text alphabetical.

    See Also
    --------
    SpeechSentimentRegressor : The same network with a regression head.
    OrdinalClassifier : Thresholds over any binary classifier.

    References
    ----------
    {references}

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent import SpeechSentimentClassifier
    >>> rng = np.random.default_rng(0)
    >>> utterances = [rng.normal(size=(n, 8)).astype("float32") for n in (30, 40, 50, 20)]
    >>> net = SpeechSentimentClassifier(max_epochs=2, random_state=0)
    >>> net.fit(utterances, [-1, 0, 2, 0]).predict_proba(utterances).shape
    (4, 3)
    """

    @property
    def classes_(self) -> NDArray[Any]:
        """Levels as columns of probabilities are sorted, shape (n_levels,)."""
        return np.sort(self.levels_)

    def _heads(self) -> tuple[str, ...]:
        return ("regression", "ordinal") if self.two_headed else ("ordinal",)

    def predict(self, X: Any) -> NDArray[Any]:
        """Level of each utterance.

        Parameters
        ----------
        X : UtteranceFrames, sequence of arrays, or array-like of shape (n, n_values)

        Returns
        -------
        ndarray of shape (n,)
            Values of ``levels_``; with ``on_error="nan"`` NaN for utterances whose frames are.

        Raises
        ------
        ValueError
            If frames are NaN and ``on_error="raise"``; the message names the rows.
        """
        above = self._outputs(X, self._cumulative)["ordinal"]
        levels = self.levels_[(above > 0.5).sum(axis=1)]
        return nan_where(levels, np.isnan(above[:, 0]), self.on_error)

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Probability of each level.

        Parameters
        ----------
        X : UtteranceFrames, sequence of arrays, or array-like of shape (n, n_values)

        Returns
        -------
        ndarray of shape (n, n_levels), float32
            In the order of ``classes_``. Rows sum to 1; NaN for utterances whose frames are, with a
            warning if ``on_error="raise"``.
        """
        proba = self._outputs(X, self._probabilities)["ordinal"]
        return warn_nan(proba[:, np.argsort(self.levels_)], self.on_error)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy; real labels count as the nearest level, votes as their median.

        Parameters
        ----------
        X : UtteranceFrames, sequence of arrays, or array-like of shape (n, n_values)
        y : array-like of shape (n,), or table of votes of shape (n, n_levels)
            As in ``fit``. Labels off the scale count as wrong.
        sample_weight : array-like of shape (n,), optional

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If utterances are NaN; the message names the rows.
        """
        given = self.levels is not None
        return level_accuracy(y, self.predict(X), self.levels_, sample_weight, given=given)

    def _probabilities(self, outputs: Outputs) -> Outputs:
        """P(level = k) for each level, from the outputs of a batch."""
        return {"ordinal": class_probabilities(self._cumulative(outputs)["ordinal"])}

    def _cumulative(self, outputs: Outputs) -> Outputs:
        """P(level > k) for each threshold, from the outputs of a batch."""
        above = self._network.heads["ordinal"].cumulative(outputs["ordinal"])
        if self.prior_correction:
            natural = class_probabilities(above) * torch.from_numpy(self.prior_ratio_).float()
            above = cumulative_probabilities(natural / natural.sum(dim=1, keepdim=True))
        return {"ordinal": above}

    def as_regressor(self) -> SpeechSentimentRegressor:
        """View of a fitted two-headed network that predicts intensities.

        Returns
        -------
        SpeechSentimentRegressor
            Fitted; shares the network with this estimator.

        Raises
        ------
        AttributeError
            If it was not trained with ``two_headed=True``.
        """
        if not self.two_headed:
            raise AttributeError("There is no regression head: fit with two_headed=True.")
        return self._view_as(SpeechSentimentRegressor)


@document
class SpeechSentimentRegressor(IntensityMixin, SpeechSentimentNet):
    """Sentiment intensity of utterances by a residual network trained on absolute error.

    A skorch estimator over :class:`~sklearn_speechsent.nn.SentimentNetwork`: sentiment blocks
    (StExt), optionally on top of speaker blocks (SRExt), a decoder that pools over time and
    frequency, and a linear head.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}
    levels_ : ndarray of shape (n_levels,)
        Only with ``two_headed``: levels of the ordinal head.

    See Also
    --------
    SpeechSentimentClassifier : The same network with an ordinal head.

    References
    ----------
    {references}

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_speechsent import SpeechSentimentRegressor
    >>> rng = np.random.default_rng(0)
    >>> utterances = [rng.normal(size=(n, 8)).astype("float32") for n in (30, 40, 50, 20)]
    >>> net = SpeechSentimentRegressor(max_epochs=2, random_state=0)
    >>> net.fit(utterances, [-1.5, 0.0, 2.0, 1.0]).predict(utterances).shape
    (4,)
    """

    def _heads(self) -> tuple[str, ...]:
        return ("regression", "ordinal") if self.two_headed else ("regression",)

    def predict(self, X: Any) -> NDArray[np.float32]:
        """Intensity of each utterance.

        Parameters
        ----------
        X : UtteranceFrames, sequence of arrays, or array-like of shape (n, n_values)

        Returns
        -------
        ndarray of shape (n,), float32
            In the unit of ``y``, not clipped; NaN for utterances whose frames are, with a warning
            if ``on_error="raise"``.
        """
        return warn_nan(self._outputs(X)["regression"], self.on_error)

    # Inherited from skorch; to scikit-learn it would make this a classifier.
    predict_proba = property()

    def as_classifier(self) -> SpeechSentimentClassifier:
        """View of a fitted two-headed network that predicts levels.

        Returns
        -------
        SpeechSentimentClassifier
            Fitted; shares the network with this estimator.

        Raises
        ------
        AttributeError
            If it was not trained with ``two_headed=True``.
        """
        if not self.two_headed:
            raise AttributeError("There is no ordinal head: fit with two_headed=True.")
        return self._view_as(SpeechSentimentClassifier)

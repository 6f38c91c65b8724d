"""The systems of the paper, and the light route, put together by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sklearn.pipeline import Pipeline

from sklearn_speechsent.audio.perturbation import WaveformPerturbation
from sklearn_speechsent.features import FrameStatistics, MelFilterBank, SlidingCMN
from sklearn_speechsent.pretrained import REGISTRY, has_weights, load_weights
from sklearn_speechsent.sentiment import (
    OrdinalClassifier,
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
)
from sklearn_speechsent.speaker import (
    SpeakerEmbedder,
    SpeakerEmbeddingFusion,
    SpeakerFeatureExtractor,
)
from sklearn_speechsent.vad import VoiceActivityDetector

#: The systems of the paper: frozen of all speaker blocks, sentiment blocks, fused speaker
#: embedding, heads.
SYSTEMS = (
    "2/2SREx-SEResNet-16 + C + R",
    "1/2SREx-SEResNet-16 + C + R",
    "1/2SREx-SEResNet-16 + R",
    "1/2SREx-SEResNet-16 + C",
    "1/2SREx-SEResNet-34 + SpE + C",
)
_GRAMMAR = re.compile(r"([012])/2srex-seresnet-(16|34)(spe)?(cr|c|r)")
#: What ``weights="auto"`` stands for: the former if it is there, else what ships with the package.
_BEST, _SHIPPED = "wespeaker-voxceleb-resnet34", "speechsent-seresnet"
_STEPS = ("mfb", "vad", "cmn", "spe", "srext", "net")


def _normalised(name: str) -> str:
    """Name of a system without what people spell differently: spaces, case and plus signs."""
    return re.sub(r"[\s+]", "", name).lower()


def make_sentiment_pipeline(
    system: str | None = None,
    *,
    perturb: bool = False,
    weights: Any = "auto",
    memory: Any = None,
    n_jobs: int | None = None,
    random_state: Any = None,
    verbose: int = 0,
    **params: Any,
) -> Pipeline | WaveformPerturbation:
    """Pipeline from recordings to sentiment.

    Parameters
    ----------
    system : str, optional
        None is what is recommended: block 3 of a speaker network, pooled to means, deviations,
        step sizes and means of thirds in 5 frequency bands, under an
        :class:`~sklearn_speechsent.OrdinalClassifier`; it trains in seconds. With the network that
        ships with the package frames without speech are dropped first, which helps it more than
        WeSpeaker's (``vad="passthrough"`` or ``vad=VoiceActivityDetector()``). ``"light"`` is the
        same with means and deviations in 10 bands. Or one of the networks of the paper [1]_:
        ``"2/2SREx-SEResNet-16 + C + R"``, ``"1/2SREx-SEResNet-16 + C + R"``,
        ``"1/2SREx-SEResNet-16 + R"``, ``"1/2SREx-SEResNet-16 + C"``,
        ``"1/2SREx-SEResNet-34 + SpE + C"``. The parts may be combined anew, and spaces and plus
        signs left out: 2, 1 or 0 of the two speaker blocks are frozen (0: they learn from scratch
        rather than from ``weights``), 16 or 34 is the size of the sentiment blocks, SpE fuses a
        speaker embedding, C is an ordinal (CORAL) and R a regression head. C + R predicts levels,
        and ``net.as_regressor()`` intensities.
    perturb : bool, default=False
        Wrap the Pipeline into :class:`~sklearn_speechsent.WaveformPerturbation`, which also trains
        on a faster, a slower and a noisy copy of each recording, and averages over three speeds
        at prediction. Recommended for small corpora (up to a few thousand recordings); it takes
        four times as long to extract.
    weights : str, Path, SpeakerVerifier or None, default="auto"
        Pre-trained speaker network: name in the registry, file, or a fitted verifier inside a
        :class:`~sklearn.frozen.FrozenEstimator`. ``"auto"`` is the best network at hand when this
        is called: ``"wespeaker-voxceleb-resnet34"`` if its file lies in the data home, else
        ``"speechsent-seresnet"``, which ships with the package; the steps hold the name of the
        one chosen, and so do copies and pickles. None does without: ``"light"`` then pools the mel
        frames themselves, and the networks train their sentiment blocks on mel frames from
        scratch.
    memory : str, Path or FeatureStore, optional
        Folder in which every step keeps its features per recording, see
        :class:`~sklearn_speechsent.FeatureStore`: cross-validation and search compute each once,
        and what was killed goes on where it was. Better than the Pipeline's own ``memory``, which
        never keeps what was computed for held-out folds.
    n_jobs : int, optional
        Threads of extraction and of torch; -1 uses all cores.
    random_state : int, RandomState instance or None
        Seeds what is random.
    verbose : int, default=0
        Whether to show progress.
    **params : dict
        A step by its name (``vad=VoiceActivityDetector()``, ``net=...``, ``cmn="passthrough"``),
        a parameter of a step (``mfb__n_mels=64``), or a parameter of the last step (``levels=``,
        ``max_epochs=``).

    Returns
    -------
    Pipeline or WaveformPerturbation
        Steps ``mfb, vad, cmn, spe, srext, net``, those that do nothing being ``"passthrough"``.

    Raises
    ------
    ValueError
        If the system or a parameter is unknown.

    References
    ----------
    .. [1] "Speech-only sentiment intensity from speaker-verification features", LREC 2022
       (method).

    Examples
    --------
    >>> from sklearn_speechsent import make_sentiment_pipeline
    >>> pipeline = make_sentiment_pipeline("light", levels=[-2, -1, 0, 1, 2])
    >>> list(pipeline.named_steps)
    ['mfb', 'vad', 'cmn', 'spe', 'srext', 'net']
    >>> make_sentiment_pipeline("2/2SREx-SEResNet-16+C+R", max_epochs=5)["net"].max_epochs
    5

    From recordings to levels with the network that ships with the package:

    >>> import numpy as np
    >>> recordings = np.random.default_rng(0).normal(scale=0.1, size=(4, 8000))
    >>> pipeline = make_sentiment_pipeline(weights="speechsent-seresnet")
    >>> pipeline.fit(recordings, [-1, -1, 1, 1]).predict_proba(recordings).shape
    (4, 2)
    """
    if isinstance(weights, str) and weights == "auto":
        weights = _BEST if has_weights(_BEST) else _SHIPPED
    shared = {"n_jobs": n_jobs, "memory": memory, "verbose": verbose}
    mfb, cmn = MelFilterBank(**shared), SlidingCMN(**shared)
    if weights is not None:
        window = _frame_settings(weights).get("cmn", "utterance")
        cmn = SlidingCMN(None if window == "utterance" else window, **shared)
    if system is None or _normalised(system) == "light":
        srext = SpeakerFeatureExtractor(weights, compress="sqrt", **shared)
        vad: Any = "passthrough"
        if system is None:
            srext.set_params(n_bands=5, statistics=("mean", "std", "delta", "thirds"))
            if isinstance(weights, str) and weights == _SHIPPED:
                vad = VoiceActivityDetector(**shared)
        steps = [mfb, vad, cmn, "passthrough", srext, OrdinalClassifier(n_jobs=n_jobs)]
        if weights is None:
            # Means over time are what the statistics of mel frames are made of: no CMN there.
            steps[2], steps[4] = "passthrough", FrameStatistics()
    else:
        steps = [mfb, "passthrough", cmn, *_network(str(system), weights, shared, random_state)]
    pipeline = _with_params(Pipeline(list(zip(_STEPS, steps, strict=True))), params)
    if perturb:
        return WaveformPerturbation(
            pipeline, predict_speeds=(0.9, 1.0, 1.1), random_state=random_state
        )
    return pipeline


def _frame_settings(weights: Any) -> Mapping[str, Any]:
    """What pre-trained weights expect; those of the registry need not be there yet."""
    if isinstance(weights, str) and weights in REGISTRY:
        return REGISTRY[weights].frame_settings
    return load_weights(weights).frame_settings


def _network(
    system: str, weights: Any, shared: dict[str, Any], random_state: Any
) -> tuple[Any, Any, Any]:
    """Last three steps of a system of the paper."""
    parts = _GRAMMAR.fullmatch(_normalised(system))
    if parts is None:
        raise ValueError(f"There is no system {system!r}; known: {['light', *SYSTEMS]}.")
    n_frozen, heads = int(parts[1]), parts[4]
    params: dict[str, Any] = {
        "sampling_exponent": 1.0,
        "two_headed": heads == "cr",
        "module__stext": int(parts[2]),
        "n_jobs": shared["n_jobs"],
        "verbose": shared["verbose"],
        "random_state": random_state,
    }
    spe: Any = "passthrough"
    srext: Any = "passthrough"
    if parts[3]:
        if weights is None:
            raise ValueError(f"{system!r} fuses a speaker embedding, for which it needs weights.")
        spe = SpeakerEmbeddingFusion(SpeakerEmbedder(weights, **shared))
    if n_frozen == 0:
        params["module__n_tuned_blocks"] = 2
    elif n_frozen == 2 and weights is not None:
        srext = SpeakerFeatureExtractor(
            weights, n_blocks=2, pooling=None, dtype="float16", **shared
        )
    elif weights is not None:
        params |= {"weights": weights, "module__n_frozen_blocks": 1, "module__n_tuned_blocks": 1}
    net = SpeechSentimentRegressor if heads == "r" else SpeechSentimentClassifier
    return spe, srext, net(**params)


def _with_params(pipeline: Pipeline, params: dict[str, Any]) -> Pipeline:
    """Set steps, parameters of steps, and bare parameters of the last step."""
    steps = {name: value for name, value in params.items() if name in _STEPS}
    pipeline.set_params(**steps)
    for name, value in params.items():
        if name in steps:
            continue
        step, _, parameter = name.partition("__")
        if step not in _STEPS:
            step, parameter = "net", name
        estimator = pipeline[step]
        # Parameters of torch components are not known before they are built.
        if not hasattr(estimator, "get_params") or parameter.split("__")[0] not in (
            estimator.get_params(deep=False)
        ):
            raise ValueError(
                f"{name}= is neither a step ({', '.join(_STEPS)}) nor a parameter of one: "
                f"{step} is {estimator!r}."
            )
        pipeline.set_params(**{f"{step}__{parameter}": value})
    return pipeline

"""The systems of the paper, and the light route, put together by name."""

from __future__ import annotations

import re
from typing import Any

from sklearn.pipeline import Pipeline

from sklearn_speechsent.features import (
    FrameStatistics,
    MelFilterBank,
    SlidingCMN,
    SpeakerFeatureExtractor,
)
from sklearn_speechsent.pretrained import get_weights
from sklearn_speechsent.sentiment import (
    OrdinalClassifier,
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
)

#: Frozen and tuned speaker blocks, sentiment blocks, heads, fused speaker embedding.
SYSTEMS: dict[str, dict[str, Any]] = {
    "2/2SREx-SEResNet-16 + C + R": {"frozen": 2, "tuned": 0, "stext": 16, "heads": "CR"},
    "1/2SREx-SEResNet-16 + C + R": {"frozen": 1, "tuned": 1, "stext": 16, "heads": "CR"},
    "1/2SREx-SEResNet-16 + R": {"frozen": 1, "tuned": 1, "stext": 16, "heads": "R"},
    "1/2SREx-SEResNet-16 + C": {"frozen": 1, "tuned": 1, "stext": 16, "heads": "C"},
    "1/2SREx-SEResNet-34 + SpE + C": {
        "frozen": 1,
        "tuned": 1,
        "stext": 34,
        "heads": "C",
        "spe": True,
    },
}
_WESPEAKER = "wespeaker-voxceleb-resnet34"
_STEPS = ("mfb", "vad", "cmn", "srext", "net")


def _normalised(name: str) -> str:
    """Name of a system without what people spell differently: spaces, case and plus signs."""
    return re.sub(r"[\s+]", "", name).lower()


def make_sentiment_pipeline(
    system: str | None = None,
    *,
    weights: str | None = _WESPEAKER,
    memory: Any = None,
    n_jobs: int | None = None,
    random_state: Any = None,
    verbose: int = 0,
    **params: Any,
) -> Pipeline:
    """Pipeline from recordings to sentiment.

    Parameters
    ----------
    system : str, optional
        ``"light"`` pools block 3 of a speaker network to statistics and puts an
        :class:`~sklearn_speechsent.OrdinalClassifier` on them; it trains in seconds and is what
        None stands for. Or one of the networks of the paper [1]_ (spaces and plus signs may be
        left out): ``"2/2SREx-SEResNet-16 + C + R"``, ``"1/2SREx-SEResNet-16 + C + R"``,
        ``"1/2SREx-SEResNet-16 + R"``, ``"1/2SREx-SEResNet-16 + C"``. The first numbers are frozen
        of all speaker blocks, C is an ordinal (CORAL) and R a regression head; C + R predicts
        levels, and ``net.as_regressor()`` intensities.
    weights : str or None, default="wespeaker-voxceleb-resnet34"
        Pre-trained speaker network. None does without: ``"light"`` then pools the mel frames
        themselves, and the networks train their sentiment blocks on mel frames from scratch.
    memory : str or joblib.Memory, optional
        Folder in which features are kept per recording, so that cross-validation and search
        compute each once. Better than the Pipeline's own ``memory``, which never keeps what was
        computed for held-out folds.
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
    Pipeline
        Steps ``mfb, vad, cmn, srext, net``, those that do nothing being ``"passthrough"``.

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
    ['mfb', 'vad', 'cmn', 'srext', 'net']
    >>> make_sentiment_pipeline("2/2SREx-SEResNet-16+C+R", max_epochs=5)["net"].max_epochs
    5
    """
    shared = {"n_jobs": n_jobs, "memory": memory, "verbose": verbose}
    # Means over time are what the statistics of mel frames are made of: no CMN there.
    cmn: Any = SlidingCMN()
    if weights is not None and get_weights(weights).frontend["cmn"] == "utterance":
        cmn = SlidingCMN(window=None)
    if _normalised(system or "light") == "light":
        if weights is None:
            cmn, srext = "passthrough", FrameStatistics()
        else:
            srext = SpeakerFeatureExtractor(weights, compress="sqrt", **shared)
        net: Any = OrdinalClassifier(n_jobs=n_jobs)
    else:
        srext, net = _network(str(system), weights, shared, random_state)
    steps = [MelFilterBank(**shared), "passthrough", cmn, srext, net]
    pipeline = Pipeline(list(zip(_STEPS, steps, strict=True)))
    return _with_params(pipeline, params)


def _network(
    system: str, weights: str | None, shared: dict[str, Any], random_state: Any
) -> tuple[Any, Any]:
    """Last two steps of a system of the paper."""
    spelled = {_normalised(name): name for name in SYSTEMS}
    if _normalised(system) not in spelled:
        raise ValueError(f"There is no system {system!r}; known: {['light', *SYSTEMS]}.")
    layout = SYSTEMS[spelled[_normalised(system)]]
    if layout.get("spe"):
        raise ValueError(
            f"{system!r} fuses a speaker embedding (SpE), which this version does not have yet. "
            "'1/2SREx-SEResNet-16 + C' is the system without it."
        )
    params: dict[str, Any] = {
        "sampling_exponent": 1.0,
        "two_headed": layout["heads"] == "CR",
        "module__stext": layout["stext"],
        "n_jobs": shared["n_jobs"],
        "verbose": shared["verbose"],
        "random_state": random_state,
    }
    srext: Any = "passthrough"
    if weights is not None and layout["tuned"] == 0:
        srext = SpeakerFeatureExtractor(
            weights, n_blocks=layout["frozen"], pooling=None, dtype="float16", **shared
        )
    elif weights is not None:
        params |= {
            "weights": weights,
            "module__n_frozen_blocks": layout["frozen"],
            "module__n_tuned_blocks": layout["tuned"],
        }
    net = SpeechSentimentRegressor if layout["heads"] == "R" else SpeechSentimentClassifier
    return srext, net(**params)


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

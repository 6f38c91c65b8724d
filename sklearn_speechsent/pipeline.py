"""Systems by name: each a Pipeline from recordings to sentiment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from sklearn.pipeline import Pipeline

from sklearn_speechsent.features import FrameStatistics, MelFilterBank, SlidingCMN
from sklearn_speechsent.pretrained import REGISTRY, load_weights
from sklearn_speechsent.pretrained.registry import find_registered
from sklearn_speechsent.sentiment import (
    IntensityRegressor,
    IntensityVotingRegressor,
    OrdinalClassifier,
    OrdinalVotingClassifier,
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
)
from sklearn_speechsent.speaker import (
    SpeakerEmbedder,
    SpeakerEmbeddingFusion,
    SpeakerFeatureExtractor,
)
from sklearn_speechsent.speech import SpeechEncoder
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
#: Speaker network of the systems of pooled features, of which medium's is that of all others.
_WEIGHTS = {
    "small": "speechsent-seresnet",
    "medium": "wespeaker-voxceleb-resnet34",
    "large": "wespeaker-voxceleb-resnet34",
}
_FINETUNED = "finetuned"
#: Systems that are not the paper's.
_NAMED = (*_WEIGHTS, _FINETUNED)
#: Speech encoder of large.
_ENCODER = "whisper-base"
_STEPS = ("mfb", "vad", "cmn", "spe", "srext", "net")
#: Steps of large, whose members are Pipelines.
_PLACES = {name: f"net__speaker__{name}" for name in _STEPS[:-1]}
_PLACES |= {"encoder": "net__speech__encoder", "net": "net"}


def _normalised(name: str) -> str:
    """Name of a system without spaces, case and plus signs, in which spellings differ."""
    return re.sub(r"[\s+]", "", name).lower()


def make_sentiment_pipeline(
    system: str = "small",
    *,
    target: str = "level",
    weights: Any = "default",
    on_error: str = "raise",
    memory: Any = None,
    n_jobs: int | None = None,
    device: Any = "cpu",
    random_state: Any = None,
    verbose: int = 0,
    **params: Any,
) -> Pipeline:
    """Pipeline from recordings to sentiment.

    Parameters
    ----------
    system : str, default="small"
        ``"small"``: frames of speech, block 3 of the speaker network that ships with the package,
        pooled to means, deviations, step sizes and means of thirds in 5 frequency bands, under an
        :class:`~sklearn_speechsent.OrdinalClassifier`; it trains in seconds and needs no download.
        ``"medium"``: the same with WeSpeaker's larger network, which
        :func:`~sklearn_speechsent.pretrained.fetch_weights` downloads once. ``"large"``: medium
        and an :class:`~sklearn_speechsent.OrdinalClassifier` on means of layers 3 and 4 of Whisper
        base (another download), which vote. ``"finetuned"``: a network that begins as blocks 1 to 3
        of WeSpeaker's, of which the third learns, under statistics like those of ``"small"`` and an
        ordinal head; it trains for minutes. Or one of the networks of the paper [1]_:
        ``"2/2SREx-SEResNet-16 + C + R"``, ``"1/2SREx-SEResNet-16 + C + R"``,
        ``"1/2SREx-SEResNet-16 + R"``, ``"1/2SREx-SEResNet-16 + C"``,
        ``"1/2SREx-SEResNet-34 + SpE + C"``. Their parts may be combined, and spaces and plus signs
        left out: 2, 1 or 0 of the two speaker blocks are frozen (0: they learn from scratch rather
        than from ``weights``), 16 or 34 is the size of the sentiment blocks, SpE fuses a speaker
        embedding, C is an ordinal (CORAL) and R a regression head. C + R predicts levels, and
        ``net.as_regressor()`` intensities.
    target : {"level", "intensity"}, default="level"
        What ``"small"``, ``"medium"``, ``"large"`` and ``"finetuned"`` predict. ``"intensity"`` is
        for labels that are real numbers, such as means of several ratings: an
        :class:`~sklearn_speechsent.IntensityRegressor` takes the place of every
        :class:`~sklearn_speechsent.OrdinalClassifier`, and a regression head that of the ordinal
        one. The names of the other systems say what they predict. All take votes of several
        annotators as ``y``: levels learn their shares, and intensities their mean.
    weights : str, Path, FrozenEstimator or None, default="default"
        Pre-trained speaker network: name in the registry, file, or a fitted
        :class:`~sklearn_speechsent.SpeakerVerifier` inside a
        :class:`~sklearn.frozen.FrozenEstimator`. ``"default"`` is ``"speechsent-seresnet"`` for
        ``"small"`` and ``"wespeaker-voxceleb-resnet34"`` for all others. None does without:
        ``"small"`` then pools the mel frames themselves, and the networks of the paper train their
        sentiment blocks on mel frames from scratch.
    on_error : {"raise", "nan"}, default="raise"
        What to do with a recording that cannot be used: raise an error that names all of them, or
        keep their rows as NaN, in ``mfb`` and in the last step. A recording in which nobody speaks
        is not a bad one: its row is NaN, with a
        :class:`~sklearn_speechsent.frames.NoSpeechWarning`, under either.
    memory : str, Path, FeatureStore or joblib.Memory, optional
        Folder in which every step stores its features per recording, see
        :class:`~sklearn_speechsent.FeatureStore`: cross-validation and search compute each once,
        and an interrupted extraction resumes. Better than the Pipeline's own ``memory``, which
        never stores what was computed for held-out folds.
    n_jobs : int, optional
        Threads of extraction and of torch; -1 uses all cores.
    device : str or torch.device, default="cpu"
        Where every network runs that can be told so, such as ``"cuda"``: speaker networks, the
        encoder, and the network that is trained. Decoding, mel frames and voice activity stay on
        the processor.
    random_state : int, RandomState instance or None, default=None
        Seeds the training of networks; None is a new seed for every fit.
    verbose : int, default=0
        Whether to show progress.
    **params : dict
        A step by its name (``vad=VoiceActivityDetector("energy")``, ``net=...``,
        ``cmn="passthrough"``, ``encoder=...``), a parameter of a step (``mfb__n_mels=64``,
        ``encoder__layers=(2, 3, 4)``), or a parameter of the last step (``levels=``,
        ``max_epochs=``).

    Returns
    -------
    Pipeline
        Steps ``mfb, vad, cmn, spe, srext, net``; those that do nothing are ``"passthrough"``.
        Of ``"large"`` the only step is ``net``, an
        :class:`~sklearn_speechsent.OrdinalVotingClassifier` or
        :class:`~sklearn_speechsent.IntensityVotingRegressor` of two Pipelines: ``speaker`` has the
        six steps, and ``speech`` the steps ``encoder`` and ``net``.

    Raises
    ------
    FileNotFoundError
        If pre-trained weights are not there; the message says how to fetch them.
    ValueError
        If the system or a parameter is unknown.

    Warns
    -----
    NoSpeechWarning
        The fitted Pipeline, about recordings in which nobody speaks (digital silence only, where
        there is no detector).
    DomainWarning
        The fitted Pipeline, once in a call, about recordings unlike those of ``fit`` in where their
        sound ends, in duration or in share of speech.

    See Also
    --------
    WaveformPerturbation : Training on perturbed copies, around this Pipeline.

    References
    ----------
    .. [1] "Speech-only sentiment intensity from speaker-verification features", LREC 2022
       (method).

    Examples
    --------
    >>> from sklearn_speechsent import make_sentiment_pipeline
    >>> pipeline = make_sentiment_pipeline(levels=[-2, -1, 0, 1, 2])
    >>> list(pipeline.named_steps)
    ['mfb', 'vad', 'cmn', 'spe', 'srext', 'net']
    >>> make_sentiment_pipeline("2/2SREx-SEResNet-16+C+R", weights=None, max_epochs=5)[
    ...     "net"
    ... ].max_epochs
    5

    From recordings to levels:

    >>> from sklearn_speechsent.datasets import make_speech_sentiment
    >>> corpus = make_speech_sentiment(2, 2, levels=(-1, 1), random_state=0)
    >>> pipeline = make_sentiment_pipeline()
    >>> pipeline.fit(corpus.data, corpus.target).predict_proba(corpus.data).shape
    (4, 2)
    """
    if on_error not in ("raise", "nan"):
        raise ValueError(f"on_error={on_error!r} must be 'raise' or 'nan'.")
    if target not in ("level", "intensity"):
        raise ValueError(f"target={target!r} must be 'level' or 'intensity'.")
    if isinstance(weights, str) and weights == "default":
        weights = _WEIGHTS.get(system, _WEIGHTS["medium"])
    shared = {"n_jobs": n_jobs, "memory": memory, "verbose": verbose}
    if system in _WEIGHTS:
        # On the statistics of the smaller network principal components cost accuracy.
        n_components = None if system == "small" else 256
        steps = _statistics(
            weights, shared, device, _last_step(target, n_jobs, n_components=n_components)
        )
    elif system == _FINETUNED:
        steps = _finetuned(target, weights, shared, device, random_state)
    elif target == "level":
        steps = _network(str(system), weights, shared, device, random_state)
    else:
        raise ValueError(
            f"target={target!r} is for {', '.join(map(repr, _NAMED))}; a network of the paper says "
            "in its name what it predicts: R intensities, C levels, and C + R levels, or "
            "intensities by net.as_regressor()."
        )
    steps["mfb"] = MelFilterBank(on_error=on_error, **shared)
    steps["net"].set_params(on_error=on_error)
    pipeline = Pipeline([(name, steps[name]) for name in _STEPS])
    if system != "large":
        return _with_params(pipeline, params, {name: name for name in _STEPS})
    if not params.keys() & {"encoder", "encoder__model"}:
        find_registered(REGISTRY[_ENCODER])
    encoder = SpeechEncoder(_ENCODER, layers=(3, 4), on_error=on_error, device=device, **shared)
    last = _last_step(target, n_jobs, on_error=on_error)
    members = [("speaker", pipeline), ("speech", Pipeline([("encoder", encoder), ("net", last)]))]
    net: Any = IntensityVotingRegressor(members, weights=[1, 2])
    if target == "level":
        net = OrdinalVotingClassifier(members, weights=[1, 2], on_error=on_error)
    return _with_params(Pipeline([("net", net)]), params, _PLACES)


def _last_step(target: str, n_jobs: int | None, **params: Any) -> Any:
    """Estimator of levels or of intensities from a table."""
    if target == "intensity":
        return IntensityRegressor(**params)
    return OrdinalClassifier(n_jobs=n_jobs, **params)


def _described(weights: Any) -> Any:
    """What is known about pre-trained weights, which must be there: frames and architecture."""
    if isinstance(weights, str) and weights in REGISTRY:
        find_registered(REGISTRY[weights])
        return REGISTRY[weights]
    return load_weights(weights)


def _cmn(weights: Any, shared: dict[str, Any]) -> SlidingCMN:
    """Mean normalisation that pre-trained weights expect."""
    window = _described(weights).frame_settings.get("cmn", "utterance")
    return SlidingCMN(None if window == "utterance" else window, **shared)


def _statistics(weights: Any, shared: dict[str, Any], device: Any, net: Any) -> dict[str, Any]:
    """Steps of pooled statistics under an estimator of tables."""
    steps: dict[str, Any] = {
        "vad": VoiceActivityDetector(**shared),
        "spe": "passthrough",
        "net": net,
    }
    if weights is None:
        # The statistics of mel frames are means over time, which CMN would remove.
        return steps | {"cmn": "passthrough", "srext": FrameStatistics()}
    srext = SpeakerFeatureExtractor(
        weights,
        n_bands=5,
        statistics=("mean", "std", "delta", "thirds"),
        compress="sqrt",
        device=device,
        **shared,
    )
    return steps | {"cmn": _cmn(weights, shared), "srext": srext}


def _maps(weights: Any, shared: dict[str, Any], device: Any) -> SpeakerFeatureExtractor:
    """Maps of the lower blocks that networks continue."""
    return SpeakerFeatureExtractor(
        weights, n_blocks=2, pooling=None, dtype="float16", device=device, **shared
    )


def _finetuned(
    target: str, weights: Any, shared: dict[str, Any], device: Any, random_state: Any
) -> dict[str, Any]:
    """Steps of a network whose sentiment blocks begin as the third block of a speaker network."""
    if weights is None:
        raise ValueError(f"{_FINETUNED!r} tunes a pre-trained network, for which it needs weights.")
    layout = _described(weights).architecture
    if len(layout["depths"]) < 3:
        raise ValueError(
            f"{_FINETUNED!r} tunes the third block of its weights, which have "
            f"{len(layout['depths'])} blocks."
        )
    net = SpeechSentimentRegressor if target == "intensity" else SpeechSentimentClassifier
    # Chosen on actors 1 to 12 of RAVDESS, see docs/results/finetuned.md.
    settings: dict[str, Any] = {
        "weights": weights,
        "module__stext": ((layout["depths"][2], layout["widths"][2]),),
        "module__stext_init": "speaker",
        "module__decoder": "stats",
        "module__dropout": 0.3,
        "ordinal": "sord",
        "chunk_duration": 3.0,
        "sampling_exponent": 0.5,
        "max_epochs": 6,
        "lr_schedule": "one-cycle",
        "optimizer": torch.optim.AdamW,
        "optimizer__weight_decay": 1e-2,
        "optimizer__param_groups": [("stext.*", {"lr": 2e-4})],
        "max_gradient_norm": 1.0,
    }
    running = {"n_jobs": shared["n_jobs"], "verbose": shared["verbose"], "device": device}
    return {
        "vad": "passthrough",
        "spe": "passthrough",
        "cmn": _cmn(weights, shared),
        "srext": _maps(weights, shared, device),
        "net": net(random_state=random_state, **running, **settings),
    }


def _network(
    system: str, weights: Any, shared: dict[str, Any], device: Any, random_state: Any
) -> dict[str, Any]:
    """Steps of a system of the paper."""
    parts = _GRAMMAR.fullmatch(_normalised(system))
    if parts is None:
        raise ValueError(
            f"There is no system {system!r}; known: {', '.join(map(repr, (*_NAMED, *SYSTEMS)))}, "
            "and other combinations of 0, 1 or 2 frozen blocks, 16 or 34, with or without SpE, "
            "and C + R, R or C, in this order."
        )
    n_frozen, heads = int(parts[1]), parts[4]
    params: dict[str, Any] = {
        "sampling_exponent": 1.0,
        "two_headed": heads == "cr",
        "module__stext": int(parts[2]),
        "n_jobs": shared["n_jobs"],
        "device": device,
        "verbose": shared["verbose"],
        "random_state": random_state,
    }
    steps: dict[str, Any] = dict.fromkeys(("vad", "spe", "srext"), "passthrough")
    steps["cmn"] = SlidingCMN(**shared) if weights is None else _cmn(weights, shared)
    if parts[3]:
        if weights is None:
            raise ValueError(f"{system!r} fuses a speaker embedding, for which it needs weights.")
        steps["spe"] = SpeakerEmbeddingFusion(SpeakerEmbedder(weights, device=device, **shared))
    if n_frozen == 0:
        params["module__n_tuned_blocks"] = 2
    elif n_frozen == 2 and weights is not None:
        steps["srext"] = _maps(weights, shared, device)
    elif weights is not None:
        params |= {"weights": weights, "module__n_frozen_blocks": 1, "module__n_tuned_blocks": 1}
    net = SpeechSentimentRegressor if heads == "r" else SpeechSentimentClassifier
    return steps | {"net": net(**params)}


def _with_params(pipeline: Pipeline, params: dict[str, Any], places: Mapping[str, str]) -> Pipeline:
    """Set steps, parameters of steps, and bare parameters of the last step.

    ``places`` are the steps that can be named, and where they are in the Pipeline.
    """
    steps = {name: value for name, value in params.items() if name in places}
    pipeline.set_params(**{places[name]: value for name, value in steps.items()})
    for name, value in params.items():
        if name in steps:
            continue
        step, _, parameter = name.partition("__")
        if step not in places:
            step, parameter = "net", name
        estimator = pipeline.get_params()[places[step]]
        # Parameters of torch components are not known before they are built.
        if not hasattr(estimator, "get_params") or parameter.split("__")[0] not in (
            estimator.get_params()
        ):
            raise ValueError(
                f"{name}= is neither a step ({', '.join(places)}) nor a parameter of one: "
                f"{step} is {estimator!r}."
            )
        pipeline.set_params(**{f"{places[step]}__{parameter}": value})
    return pipeline

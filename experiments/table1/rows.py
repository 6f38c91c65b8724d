"""Rows of the table: our systems, classical ones, and the audio networks of other papers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import BaseCrossValidator, GridSearchCV, GroupKFold, KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from experiments._harness.command import choose
from experiments._harness.egemaps import EGeMAPS, lacks_opensmile
from experiments._harness.systems import WESPEAKER, WHISPER
from experiments.table1.rivals import ICCNAudio, MulTAudio, TFNAcoustic
from sklearn_speechsent import (
    MelFilterBank,
    OrdinalClassifier,
    OrdinalVotingClassifier,
    SlidingCMN,
    SpeakerEmbedder,
    SpeechEncoder,
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
    WaveformPerturbation,
    make_sentiment_pipeline,
)
from sklearn_speechsent.nn import EncoderNetwork
from sklearn_speechsent.pipeline import SYSTEMS
from sklearn_speechsent.pretrained import has_weights

CONSTANT = "constant (median)"
#: Predictions of a two-headed network, from one fit, in the order of `predictions`.
TWO_HEADS = (", levels", ", intensities")


@dataclass(frozen=True)
class Settings:
    """Settings of the command line, for all rows.

    Parameters
    ----------
    levels : tuple of int
    epochs, rival_epochs : int
        Of our networks, and of those of other papers.
    seed : int
    precision : {"float32", "bfloat16"}
        Of the training of networks.
    chunk : float
        Seconds that networks get of a longer utterance each time it is drawn.
    jobs : int
        Threads.
    memory : str or None
        Folder of features.
    device : str
        Of networks and of frozen parts.
    verbose : int
    exponent : float or None
        Of the sampling of the paper's systems; None is theirs.
    """

    levels: tuple[int, ...]
    epochs: int = 8
    rival_epochs: int = 8
    seed: int = 0
    precision: str = "float32"
    chunk: float = 4.0
    jobs: int = 1
    memory: str | None = None
    device: str = "cpu"
    verbose: int = 0
    exponent: float | None = None

    def extraction(self) -> dict[str, Any]:
        """Parameters of steps that extract features."""
        return {"memory": self.memory, "n_jobs": self.jobs, "verbose": self.verbose}

    def system(self) -> dict[str, Any]:
        """Parameters of every pipeline of ours."""
        return {**self.extraction(), "random_state": self.seed, "device": self.device}

    def network(self) -> dict[str, Any]:
        """Parameters of the training of a network."""
        return {
            "max_epochs": self.epochs,
            "precision": self.precision,
            "chunk_duration": self.chunk,
        }


@dataclass(frozen=True)
class Row:
    """One fit per fold, shown as one row or, with two heads, as two.

    Parameters
    ----------
    name : str
    make : callable
        Estimator from `Settings`.
    needs : str
        What must be installed or downloaded: names of weights, separated by commas, or
        "opensmile".
    searched : bool
        Whether the model, or its last step ``net``, searches inside of the training rows, by
        speaker.
    heads : tuple of str
        Appended to the name.
    members : tuple of str
        Other rows whose decisions are averaged: what ``make`` gives, from their results.
    """

    name: str
    make: Callable[[Settings], Any]
    needs: str = ""
    searched: bool = False
    heads: tuple[str, ...] = ("",)
    members: tuple[str, ...] = ()

    def lacks(self) -> str:
        """Say why the row cannot be computed here; empty if it can."""
        if self.needs == "opensmile":
            return lacks_opensmile()
        absent = [name for name in filter(None, self.needs.split(",")) if not has_weights(name)]
        return f"the weights {', '.join(absent)} are not in the data home" if absent else ""

    def predictions(
        self, model: Any, X: Any
    ) -> tuple[list[NDArray[Any]], NDArray[np.floating] | None]:
        """Predictions of each head of a fitted model, and probabilities if it has any."""
        if len(self.heads) == 1:
            has = hasattr(model, "predict_proba")
            return [model.predict(X)], model.predict_proba(X) if has else None
        net, features = model[-1], model[:-1].transform(X)
        both = [net.predict(features), net.as_regressor().predict(features)]
        return both, net.predict_proba(features)


class SpeakerFolds(BaseCrossValidator):
    """``GroupKFold`` over as many folds as there are speakers, at most ``n_splits``.

    A training fold of one speaker is split by recording, as nothing else is left.

    Parameters
    ----------
    n_splits : int, default=5
    """

    def __init__(self, n_splits: int = 5) -> None:
        self.n_splits = n_splits

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Count the splits of these groups."""
        n_speakers = len(np.unique(groups))
        return min(self.n_splits, n_speakers if n_speakers > 1 else len(groups))

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Any]:
        """Generate training and test rows."""
        n_splits = self.get_n_splits(X, y, groups)
        if len(np.unique(groups)) == 1:
            return KFold(n_splits).split(X, y)
        return GroupKFold(n_splits).split(X, y, groups)


def _searched_svr(settings: Settings) -> GridSearchCV:
    return GridSearchCV(
        make_pipeline(StandardScaler(), SVR()),
        {"svr__C": [0.1, 0.3, 1.0, 3.0, 10.0]},
        scoring="neg_mean_absolute_error",
        cv=SpeakerFolds(5),
        n_jobs=settings.jobs,
    )


def _system(name: str, **params: Any) -> Callable[[Settings], Any]:
    def make(settings: Settings) -> Any:
        return make_sentiment_pipeline(name, levels=settings.levels, **settings.system(), **params)

    return make


def _searched_large(settings: Settings) -> GridSearchCV:
    # Each fold chooses among its own training speakers: free of those it is tested on.
    return GridSearchCV(
        _system("large")(settings),
        {
            "net__weights": [[1, 1], [1, 2]],
            "net__speech__encoder__layers": [(2, 3, 4), (3, 4)],
            "net__speech__net__n_components": [None, 256],
        },
        scoring="neg_mean_absolute_error",
        cv=SpeakerFolds(4),
    )


def _finetuned(settings: Settings, **params: Any) -> Any:
    return _system("finetuned", precision=settings.precision, **params)(settings)


def _finetuned_perturbed(settings: Settings) -> Any:
    # Each epoch goes through six copies.
    model = _finetuned(settings, max_epochs=4)
    return WaveformPerturbation(model, random_state=settings.seed)


def _together(*names: str) -> Row:
    """Row of equal votes of other rows."""

    def make(settings: Settings) -> OrdinalVotingClassifier:
        return OrdinalVotingClassifier([(name, row_of(name).make(settings)) for name in names])

    return Row(" + ".join(names), make, f"{WESPEAKER},{WHISPER}", members=names)


def _perturbed(name: str) -> Callable[[Settings], Any]:
    def make(settings: Settings) -> Any:
        return WaveformPerturbation(_system(name)(settings), random_state=settings.seed)

    return make


def _network(name: str) -> Row:
    def make(settings: Settings) -> Any:
        params = settings.network()
        if settings.exponent is not None:
            params["sampling_exponent"] = settings.exponent
        return _system(name, **params)(settings)

    return Row(name, make, WESPEAKER, heads=TWO_HEADS if name.endswith("C + R") else ("",))


def _statistics(settings: Settings) -> Any:
    svr = make_pipeline(StandardScaler(), SVR(C=3))
    return make_sentiment_pipeline(
        "small", weights=None, vad="passthrough", net=svr, **settings.system()
    )


def _egemaps(settings: Settings) -> Any:
    return Pipeline([("egemaps", EGeMAPS(settings.memory)), ("net", _searched_svr(settings))])


def _embedding(settings: Settings) -> Any:
    embedder = SpeakerEmbedder(WESPEAKER, **settings.extraction())
    steps = {"vad": "passthrough", "srext": embedder, "net": _searched_svr(settings)}
    return make_sentiment_pipeline("medium", **steps, **settings.system())


def _encoder_means(settings: Settings) -> Any:
    encoder = SpeechEncoder(WHISPER, layers=(3, 4), n_blocks=4, **settings.extraction())
    return Pipeline([("encoder", encoder), ("net", OrdinalClassifier(levels=settings.levels))])


def _encoder_network(settings: Settings) -> Any:
    encoder = SpeechEncoder(WHISPER, pooling=None, dtype="float16", **settings.extraction())
    net = SpeechSentimentClassifier(
        EncoderNetwork,
        levels=settings.levels,
        ordinal="sord",
        sampling_exponent=0.5,
        device=settings.device,
        n_jobs=settings.jobs,
        random_state=settings.seed,
        verbose=settings.verbose,
        **settings.network(),
    )
    return Pipeline([("encoder", encoder), ("net", net)])


def _rival(module: type, cmn: Any) -> Callable[[Settings], Any]:
    def make(settings: Settings) -> Any:
        net = SpeechSentimentRegressor(
            module=module,
            spec_augment=False,  # as in the papers
            device=settings.device,
            n_jobs=settings.jobs,
            random_state=settings.seed,
            verbose=settings.verbose,
            **{**settings.network(), "max_epochs": settings.rival_epochs},
        )
        return Pipeline(
            [("mfb", MelFilterBank(**settings.extraction())), ("cmn", cmn()), ("net", net)]
        )

    return make


ROWS = (
    Row(CONSTANT, lambda settings: DummyRegressor(strategy="median")),
    Row("small", _system("small")),
    Row("medium", _system("medium"), WESPEAKER),
    Row("large", _system("large"), f"{WESPEAKER},{WHISPER}"),
    Row("finetuned", _finetuned, WESPEAKER),
    Row("large, searched", _searched_large, f"{WESPEAKER},{WHISPER}", searched=True),
    Row("small, perturbed", _perturbed("small")),
    Row("medium, perturbed", _perturbed("medium"), WESPEAKER),
    Row("large, perturbed", _perturbed("large"), f"{WESPEAKER},{WHISPER}"),
    Row("finetuned, perturbed", _finetuned_perturbed, WESPEAKER),
    _together("large", "finetuned"),
    _together("large, perturbed", "finetuned, perturbed"),
    Row("Whisper, means", _encoder_means, WHISPER),
    Row("Whisper, network", _encoder_network, WHISPER),
    *(_network(system) for system in SYSTEMS),
    Row("MFB mean + std, SVR", _statistics),
    Row("eGeMAPS + SVR", _egemaps, "opensmile", searched=True),
    Row("WeSpeaker embedding + SVR", _embedding, WESPEAKER, searched=True),
    # Without CMN, which would set to zero the mean over time, all that this network looks at.
    Row("TFN acoustic", _rival(TFNAcoustic, lambda: "passthrough")),
    Row("MulT audio", _rival(MulTAudio, SlidingCMN)),
    Row("ICCN audio", _rival(ICCNAudio, SlidingCMN)),
)


def row_of(name: str) -> Row:
    """Row of this name.

    Parameters
    ----------
    name : str

    Returns
    -------
    Row
    """
    return next(row for row in ROWS if row.name == name)


def select_rows(names: str) -> list[Row]:
    """Rows by names or parts of them; the constant predictor is always among them.

    Parameters
    ----------
    names : str
        See `choose`.

    Returns
    -------
    list of Row
        In the order of the table.

    Raises
    ------
    ValueError
        If there is no row of that name.
    """
    chosen = choose(names, [row.name for row in ROWS], "row")
    return [row for row in ROWS if row.name in (CONSTANT, *chosen)]

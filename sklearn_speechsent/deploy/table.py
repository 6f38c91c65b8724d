"""Closed table of the classes in a bundle: their parameters, their state, and what is checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, SVR
from sklearn.utils import Bunch

from sklearn_speechsent.audio import WaveformPerturbation
from sklearn_speechsent.deploy.networks import Frozen, Record, Tensors, WeightsName, encoder_state
from sklearn_speechsent.deploy.values import (
    Array,
    Choice,
    Domain,
    Flag,
    Labels,
    Levels,
    Names,
    Nested,
    Number,
    Place,
    Plain,
    Rule,
    Seed,
    Several,
    Size,
    Steps,
    whole,
)
from sklearn_speechsent.features import FrameStatistics, MelFilterBank, SlidingCMN
from sklearn_speechsent.features.frozen import PRECISIONS
from sklearn_speechsent.nn import EncoderNetwork, SentimentNetwork
from sklearn_speechsent.pretrained import (
    EncoderWeights,
    SpeakerWeights,
    VADWeights,
    build_encoder,
    build_vad,
)
from sklearn_speechsent.sentiment import (
    IntensityRegressor,
    IntensityVotingRegressor,
    OrdinalClassifier,
    OrdinalVotingClassifier,
    SpeechSentimentClassifier,
    SpeechSentimentRegressor,
)
from sklearn_speechsent.sentiment.kernel_machine import (
    KernelClassifier,
    KernelRegressor,
    SupportKernel,
)
from sklearn_speechsent.speaker import (
    SpeakerEmbedder,
    SpeakerEmbeddingFusion,
    SpeakerFeatureExtractor,
)
from sklearn_speechsent.speech import SpeechEncoder
from sklearn_speechsent.speech.whisper import WhisperFunction
from sklearn_speechsent.vad import VoiceActivityDetector

Put = Callable[[Any, dict[str, Any], Place], None]


def _set(model: Any, values: dict[str, Any], place: Place) -> None:
    """Set fitted attributes as they are."""
    for name, value in values.items():
        setattr(model, name, value)


@dataclass
class Entry:
    """One class that a bundle may hold.

    Parameters
    ----------
    kind : type
        Of exactly this class; subclasses are other classes.
    params : dict of str to Rule
        Parameters that are saved where they differ from their defaults.
    state : dict of str to Rule
        What is learned, in the order in which it is read.
    dropped : str
        Parameters that belong to a machine or to training alone, separated by spaces. A name that
        ends in ``__`` stands for all parameters with this prefix.
    optional : str
        Of ``state``, what may be absent.
    blank : dict
        Arguments of the constructor that ``put`` replaces.
    get : callable, optional
        State of a fitted estimator, by default its attributes.
    put : callable
        Gives an estimator its state, and raises ValueError where parts do not fit each other.
    """

    kind: type
    params: dict[str, Rule] = field(default_factory=dict)
    state: dict[str, Rule] = field(default_factory=dict)
    dropped: str = ""
    optional: str = ""
    blank: dict[str, Any] = field(default_factory=dict)
    get: Callable[[Any], dict[str, Any]] | None = None
    put: Put = _set


def _plain(names: str) -> dict[str, Rule]:
    return {name: Plain() for name in names.split()}


_TABLE = {"n_features_in_": Size("n"), "feature_names_in_": Names()}
#: Parameters that say how a step runs on one machine.
_MACHINE = "n_jobs memory verbose device"


# -- steps of tables, scikit-learn's ---------------------------------------------------------------


def _scaler(kind: type, params: str, **arrays: Rule) -> Entry:
    dropped = "copy"
    return Entry(kind, _plain(params), {**_TABLE, **arrays}, dropped, "feature_names_in_")


def _put_pipeline(model: Any, values: dict[str, Any], place: Place) -> None:
    """Check that what one step gives is what the next one takes, as far as both are known."""
    given = None
    for name, step in model.steps:
        if step == "passthrough":
            continue
        if step == "drop":
            raise ValueError("a step of a Pipeline is not dropped.")
        taken, made = _widths(step)
        if None not in (given, taken) and given != taken:
            raise ValueError(f"step {name!r} takes {taken} values, and {given} come.")
        given = made


def _widths(step: Any) -> tuple[int | None, int | None]:
    """Columns that a step of tables takes and gives."""
    if isinstance(step, SupportKernel) and hasattr(step, "rows_"):
        return step.rows_.shape[1], len(step.rows_)
    if isinstance(step, (KernelClassifier, KernelRegressor)) and hasattr(step, "coef_"):
        return len(step.coef_), None
    if isinstance(step, PCA) and hasattr(step, "components_"):
        return step.components_.shape[1], len(step.components_)
    scalers = (MaxAbsScaler, MinMaxScaler, Normalizer, RobustScaler, StandardScaler)
    n = getattr(step, "n_features_in_", None)
    return (n, n) if isinstance(step, scalers) else (None, None)


def _put_linear(model: Any, values: dict[str, Any], place: Place) -> None:
    intercept = values.pop("intercept_")
    _set(model, {**values, "intercept_": intercept if intercept.ndim else intercept[()]}, place)
    if hasattr(model, "classes_"):
        n = len(model.classes_)
        if n < 2 or len(model.coef_) != (1 if n == 2 else n):
            raise ValueError(f"{len(model.coef_)} rows of coefficients for {n} classes.")


def _get_constant(model: DummyClassifier) -> dict[str, Any]:
    if model.strategy != "constant" or not isinstance(model.constant, (bool, np.bool_)):
        raise ValueError(
            "of DummyClassifier, only thresholds that all labels are on one side of can be saved."
        )
    return {"n_features_in_": model.n_features_in_}


def _put_constant(model: DummyClassifier, values: dict[str, Any], place: Place) -> None:
    if model.strategy != "constant" or type(model.constant) is not bool:
        raise ValueError("a constant threshold is true or false.")
    model.fit(np.zeros((1, values["n_features_in_"])), [model.constant])


_SVM = "C kernel degree gamma coef0 shrinking tol max_iter"
_LINEAR = {**_TABLE, "coef_": Array("n"), "intercept_": Array("")}
_SKLEARN = [
    Entry(Pipeline, {"steps": Steps()}, {}, "memory verbose transform_input", put=_put_pipeline),
    _scaler(
        StandardScaler,
        "with_mean with_std",
        mean_=Array("n", optional=True),
        var_=Array("n", low=0, optional=True),
        scale_=Array("n", low=1e-300, optional=True),
        n_samples_seen_=Number(0),
    ),
    _scaler(
        MinMaxScaler,
        "feature_range clip",
        min_=Array("n"),
        scale_=Array("n"),
        data_min_=Array("n"),
        data_max_=Array("n"),
        data_range_=Array("n", low=0),
        n_samples_seen_=Number(0),
    ),
    _scaler(
        MaxAbsScaler,
        "clip",
        scale_=Array("n", low=1e-300),
        max_abs_=Array("n", low=0),
        n_samples_seen_=Number(0),
    ),
    _scaler(
        RobustScaler,
        "with_centering with_scaling quantile_range unit_variance",
        center_=Array("n", optional=True),
        scale_=Array("n", low=1e-300, optional=True),
    ),
    _scaler(Normalizer, "norm"),
    Entry(
        PCA,
        _plain("n_components whiten svd_solver tol iterated_power n_oversamples")
        | _plain("power_iteration_normalizer")
        | {"random_state": Seed()},
        {
            **_TABLE,
            "mean_": Array("n"),
            "components_": Array("k n"),
            "explained_variance_": Array("k", low=0),
            "explained_variance_ratio_": Array("k", low=0),
            "singular_values_": Array("k", low=0),
            "noise_variance_": Number(0),
            "n_components_": Size("k"),
            "n_samples_": whole(1, 2**31),
        },
        "copy",
        "feature_names_in_",
    ),
    Entry(
        LogisticRegression,
        _plain("C class_weight dual fit_intercept intercept_scaling l1_ratio max_iter penalty")
        | _plain("solver tol warm_start")
        | {"random_state": Seed()},
        {**_TABLE, "coef_": Array("k n"), "intercept_": Array("k"), "classes_": Labels()},
        "n_jobs verbose multi_class",
        "feature_names_in_",
        put=_put_linear,
    ),
    Entry(
        Ridge,
        _plain("alpha fit_intercept max_iter positive solver tol") | {"random_state": Seed()},
        _LINEAR,
        "copy_X",
        "feature_names_in_",
        put=_put_linear,
    ),
    Entry(
        LinearRegression,
        _plain("fit_intercept positive tol"),
        _LINEAR,
        "copy_X n_jobs",
        "feature_names_in_",
        put=_put_linear,
    ),
    Entry(
        DummyClassifier,
        _plain("strategy constant") | {"random_state": Seed()},
        {"n_features_in_": Size("n")},
        get=_get_constant,
        put=_put_constant,
    ),
    # Fitted ones are sums of kernels in a bundle: see sentiment/kernel_machine.py.
    Entry(
        SVC,
        _plain(f"{_SVM} class_weight break_ties decision_function_shape probability")
        | {"random_state": Seed()},
        dropped="cache_size verbose",
    ),
    Entry(SVR, _plain(f"{_SVM} epsilon"), dropped="cache_size verbose"),
]


# -- steps of tables, ours -------------------------------------------------------------------------


def _put_machine(model: Any, values: dict[str, Any], place: Place) -> None:
    _set(model, values, place)
    if len(values.get("classes_", (0, 1))) != 2:
        raise ValueError("a machine has two classes.")


def _get_ordinal(model: OrdinalClassifier) -> dict[str, Any]:
    found = {n: getattr(model, n) for n in ("levels_", *_TABLE) if hasattr(model, n)}
    shared, thresholds = model._shared_, model.estimators_
    last = ""
    if shared is not None:
        last = thresholds[0].steps[-1][0]
        thresholds = [pipeline[-1] for pipeline in thresholds]
    return {**found, "shared": shared, "last": last, "thresholds": thresholds}


def _put_ordinal(model: OrdinalClassifier, values: dict[str, Any], place: Place) -> None:
    shared, last = values.pop("shared"), values.pop("last")
    thresholds = values.pop("thresholds")
    _set(model, values, place)
    _check_levels(model.levels_)
    if len(thresholds) != len(model.levels_) - 1:
        raise ValueError(f"{len(thresholds)} thresholds for {len(model.levels_)} levels.")
    if not all(hasattr(each, "predict") for each in thresholds):
        raise ValueError("thresholds are classifiers.")
    if shared is not None:
        if type(shared) is not Pipeline or type(shared[-1]) is not SupportKernel:
            raise ValueError("what thresholds share ends in a kernel.")
        # Of each: Pipelines check that what one step gives is what the next one takes.
        thresholds = [Pipeline([*shared.steps, (last, each)]) for each in thresholds]
        for each in thresholds:
            if type(each[-1]) not in (KernelClassifier, DummyClassifier):
                raise ValueError("thresholds of a kernel are sums of it.")
            _put_pipeline(each, {}, place)
    model._shared_, model.estimators_ = shared, thresholds
    model.classes_ = np.sort(model.levels_)


def _check_levels(levels: Any) -> None:
    numbers = levels.dtype.kind != "U"
    if len(levels) < 2 or (numbers and not np.array_equal(levels, np.sort(levels))):
        raise ValueError(f"{levels.tolist()!r:.80} are not two or more levels in order.")


def _get_vote(model: Any) -> dict[str, Any]:
    weights = model.weights
    if weights is not None:
        pairs = zip(weights, model.estimators, strict=True)
        weights = [float(weight) for weight, (_, member) in pairs if member != "drop"]
    found = {"members": list(model.named_estimators_.items()), "weights": weights}
    return found | ({"levels_": model.levels_} if hasattr(model, "levels_") else {})


def _put_vote(model: Any, values: dict[str, Any], place: Place) -> None:
    members = values.pop("members")
    _set(model, values, place)  # the parameter weights, too
    model.estimators = members
    if any(isinstance(member, str) for _, member in members):
        raise ValueError("every member of a bundle votes.")
    model._check_weights()
    model.estimators_ = [member for _, member in members]
    model.named_estimators_ = Bunch(**dict(members))
    if "levels_" in values:
        _check_levels(model.levels_)
        model.classes_ = np.sort(model.levels_)
        if any(not np.array_equal(m.classes_, model.classes_) for m in model.estimators_):
            raise ValueError("members have other levels.")


_MACHINE_STATE: dict[str, Rule] = {"coef_": Array("r", "float64"), "intercept_": Number()}
_OURS = [
    Entry(
        SupportKernel,
        _plain("kernel gamma degree coef0"),
        {"rows_": Array("r n"), "gamma_": Number(0)},
    ),
    Entry(
        KernelClassifier,
        {"machine": Nested(fitted=False)},
        {**_MACHINE_STATE, "classes_": Labels()},
        blank={"machine": None},
        put=_put_machine,
    ),
    Entry(
        KernelRegressor,
        {"machine": Nested(fitted=False)},
        _MACHINE_STATE,
        blank={"machine": None},
        put=_put_machine,
    ),
    Entry(
        OrdinalClassifier,
        _plain("C gamma n_components on_error")
        | {"estimator": Nested(fitted=False, optional=True), "levels": Levels()},
        {
            **_TABLE,
            "levels_": Labels(),
            "shared": Nested(optional=True),
            "last": Plain(),
            "thresholds": Several(),
        },
        "n_jobs",
        "feature_names_in_",
        get=_get_ordinal,
        put=_put_ordinal,
    ),
    Entry(
        IntensityRegressor,
        _plain("C gamma n_components on_error")
        | {"estimator": Nested(fitted=False, optional=True)},
        {**_TABLE, "estimator_": Nested()},
        optional="feature_names_in_",
    ),
    Entry(
        OrdinalVotingClassifier,
        _plain("on_error") | {"levels": Levels()},
        {"members": Steps(), "weights": Plain(), "levels_": Labels()},
        blank={"estimators": [], "weights": None},
        get=_get_vote,
        put=_put_vote,
    ),
    Entry(
        IntensityVotingRegressor,
        {},
        {"members": Steps(), "weights": Plain()},
        blank={"estimators": [], "weights": None},
        get=_get_vote,
        put=_put_vote,
    ),
]


# -- steps of recordings and frames ----------------------------------------------------------------


def _get_frozen(model: Any) -> dict[str, Any]:
    """State of a step with a frozen network, which goes with the record of its weights."""
    found = {name: value for name, value in vars(model).items() if name.endswith("_")}
    found.pop("_store_", None)
    found.pop("loss_curve_", None)
    if "network_" in found:
        found["network_"] = (model.network_.state_dict(), model.weights_)
    return found


def _put_frozen(model: Any, values: dict[str, Any], place: Place) -> None:
    weights = replace(values["weights_"], state=values.pop("network_"))
    _set(model, values, place)
    model.network_ = model._build(weights)
    if isinstance(model, SpeakerFeatureExtractor) and model.pooling is not None:
        model._divisions()


def _get_detector(model: VoiceActivityDetector) -> dict[str, Any]:
    return {**_get_frozen(model), "own_frontend": model.frontend is not None}


def _put_detector(model: VoiceActivityDetector, values: dict[str, Any], place: Place) -> None:
    state = values.pop("network_", None)
    if values.pop("own_frontend"):
        model.frontend = values["frontend_"]
    _set(model, values, place)
    model.limits()
    if (model.method == "unet") != (state is not None and "weights_" in values):
        raise ValueError(f"a network and method={model.method!r} do not go together.")
    if state is not None:
        model.network_ = build_vad(replace(values["weights_"], state=state))


def _get_encoder(model: SpeechEncoder) -> dict[str, Any]:
    state = encoder_state(model.network_, Place("SpeechEncoder"))
    weights = replace(model.weights_, architecture=model.network_.architecture)
    return {**_get_frozen(model), "weights_": weights, "network_": (state, weights)}


def _put_encoder(model: SpeechEncoder, values: dict[str, Any], place: Place) -> None:
    weights = replace(values["weights_"], state=values.pop("network_"))
    _set(model, values, place)
    model._check_choices()
    model.network_ = build_encoder(weights, model._highest()).prepare(PRECISIONS[model.precision])
    model._function_class = WhisperFunction


def _get_fusion(model: SpeakerEmbeddingFusion) -> dict[str, Any]:
    own = {"own_embedder": model.embedder is not None}
    return {**{name: v for name, v in vars(model).items() if name.endswith("_")}, **own}


def _put_fusion(model: SpeakerEmbeddingFusion, values: dict[str, Any], place: Place) -> None:
    if values.pop("own_embedder"):
        model.embedder = values["embedder_"]
    model.frames = values["frames_"]
    _set(model, values, place)


def _put_perturbed(model: WaveformPerturbation, values: dict[str, Any], place: Place) -> None:
    _set(model, values, place)
    model.estimator = model.estimator_
    speeds = model.predict_speeds
    if not isinstance(speeds, (list, tuple)) or not 0 < len(speeds) <= 16:
        raise ValueError(f"predict_speeds={speeds!r:.60} must be 1 to 16 numbers.")
    model._check_values(model.estimator_)


def _speaker(kind: type, params: str, **state: Rule) -> Entry:
    return Entry(
        kind,
        {"weights": WeightsName(), **_plain(params)},
        {
            "n_features_in_": Size("n"),
            **state,
            "weights_": Record(SpeakerWeights),
            "network_": Frozen(SpeakerWeights),
        },
        _MACHINE,
        get=_get_frozen,
        put=_put_frozen,
    )


_RECORDINGS = [
    Entry(
        MelFilterBank,
        {
            "n_mels": whole(1, 512),
            "sample_rate": whole(1000, 384_000),
            "frame_length": Number(1e-4, 1.0),
            "frame_shift": Number(1e-4, 1.0),
            **_plain("window low_freq high_freq preemphasis scale dtype on_error"),
        },
        {"n_features_in_": Size("n"), "_with_labels_": Flag()},
        "n_jobs memory verbose",
        "n_features_in_ _with_labels_",
    ),
    Entry(SlidingCMN, _plain("window"), {"n_features_in_": Size("n")}, "n_jobs memory verbose"),
    Entry(FrameStatistics, {}, {"n_features_in_": Size("n"), "domain_": Domain()}),
    Entry(
        VoiceActivityDetector,
        _plain("method threshold hangover min_duration max_epochs lr batch_size")
        | {"weights": WeightsName(), "random_state": Seed()},
        {
            "n_features_in_": Size("n"),
            "own_frontend": Flag(),
            "frontend_": Nested(),
            "weights_": Record(VADWeights),
            "network_": Frozen(VADWeights),
        },
        "n_jobs memory verbose",
        "weights_ network_",
        blank={"frontend": None},
        get=_get_detector,
        put=_put_detector,
    ),
    _speaker(SpeakerEmbedder, "normalize precision"),
    _speaker(
        SpeakerFeatureExtractor,
        "n_blocks pooling n_bands statistics compress dtype precision",
        embedding_size_=whole(0, 2**16),
        domain_=Domain(),
    ),
    Entry(
        SpeakerEmbeddingFusion,
        {},
        {
            "n_features_in_": Size("n"),
            "own_embedder": Flag(),
            "embedder_": Nested(),
            "frames_": Nested(optional=True),
        },
        optional="n_features_in_",
        blank={"embedder": None, "frames": None},
        get=_get_fusion,
        put=_put_fusion,
    ),
    Entry(
        SpeechEncoder,
        {"model": WeightsName()}
        | _plain("revision layers pooling statistics normalize n_blocks dtype precision on_error"),
        {
            "n_features_in_": Size("n"),
            "weights_": Record(EncoderWeights),
            "network_": Frozen(EncoderWeights),
        },
        _MACHINE,
        "n_features_in_",
        get=_get_encoder,
        put=_put_encoder,
    ),
    Entry(
        WaveformPerturbation,
        _plain("speeds snr_db gain_db conditions predict_speeds") | {"random_state": Seed()},
        {"n_features_in_": Size("n"), "estimator_": Nested()},
        optional="n_features_in_",
        blank={"estimator": None},
        put=_put_perturbed,
    ),
]


# -- networks that are trained ---------------------------------------------------------------------


def _get_net(model: Any) -> dict[str, Any]:
    names = ("n_features_in_", "frame_shape_", "embedding_size_", "levels_", "prior_ratio_")
    found = {name: getattr(model, name) for name in (*names, "weights_") if hasattr(model, name)}
    return {**found, "domain_": model.domain_, "network": model._network.state_dict()}


def _put_net(model: Any, values: dict[str, Any], place: Place) -> None:
    state, shape = values.pop("network"), values["frame_shape_"]
    _set(model, values, place)
    if not isinstance(shape, tuple) or not 1 <= len(shape) <= 2:
        raise ValueError(f"frames do not have the shape {shape!r:.60}.")
    for size in shape:
        whole(1, 2**20).read(size, place, None)
    if hasattr(model, "levels_"):
        _check_levels(model.levels_)
        if len(getattr(model, "prior_ratio_", model.levels_)) != len(model.levels_):
            raise ValueError("prior_ratio_ is not that of the levels.")
    elif "ordinal" in model._heads():
        raise ValueError("an ordinal head has levels.")
    blocks = 0
    for name, value in model.get_params_for("module").items():
        depths = [value] if name.startswith("n_") else value
        if name == "stext" and not isinstance(value, int):
            depths = [depth for depth, _ in value]
        if name in ("stext", "depths", "n_frozen_blocks", "n_tuned_blocks"):
            blocks += sum(whole(0, 512).read(d, place, None) for d in np.ravel(depths).tolist())
    if blocks > max(len(state), 34):
        raise ValueError(f"{blocks} blocks are more than {len(state)} tensors.")
    model.restore(state, place.name)


def _network(kind: type) -> Entry:
    """Entry of a network; settings of training come along, so that it can be trained again."""
    module = (
        "in_channels in_frequencies stext stext_init n_frozen_blocks n_tuned_blocks widths depths "
        "se_ratio srext_se_ratio freeze_batch_norm decoder flatten_frequency hidden_size dropout "
        "spe_size attention_size"
    )
    optimizer = "weight_decay betas eps momentum nesterov amsgrad param_groups"
    optimizers = {c.__name__: c for c in (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)}
    return Entry(
        kind,
        {
            "module": Choice({c.__name__: c for c in (SentimentNetwork, EncoderNetwork)}),
            **_plain("ordinal two_headed prior_correction on_error chunk_duration spec_augment"),
            **_plain("sampling_exponent lr lr_schedule max_gradient_norm max_epochs"),
            **_plain("average_epochs batch_size precision early_stopping validation_fraction"),
            **_plain("patience warm_start criterion__regression_weight criterion__ordinal_weight"),
            **{f"module__{name}": Plain() for name in module.split()},
            **{f"optimizer__{name}": Plain() for name in optimizer.split()},
            "optimizer": Choice(optimizers),
            "levels": Levels(),
            "weights": WeightsName(),
            "random_state": Seed(),
        },
        {
            "n_features_in_": Size("n"),
            "frame_shape_": Plain(),
            "embedding_size_": whole(0, 2**16),
            "levels_": Labels(),
            "prior_ratio_": Array("l", "float64", low=0),
            "domain_": Domain(),
            "weights_": Record(SpeakerWeights, optional=True),
            "network": Tensors(),
        },
        "callbacks criterion iterator_train iterator_valid dataset train_split compile resume "
        "predict_nonlinearity use_caching torch_load_kwargs callbacks__ iterator_train__ "
        f"iterator_valid__ dataset__ {_MACHINE}",
        "levels_ prior_ratio_",
        get=_get_net,
        put=_put_net,
    )


_NETWORKS = [_network(SpeechSentimentClassifier), _network(SpeechSentimentRegressor)]

#: Entries by the name of their class.
TABLE: Mapping[str, Entry] = {
    entry.kind.__name__: entry for entry in [*_SKLEARN, *_OURS, *_RECORDINGS, *_NETWORKS]
}

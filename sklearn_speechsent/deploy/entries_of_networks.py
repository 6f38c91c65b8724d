"""Entries of the networks that are trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sklearn_speechsent.deploy.entries_of_sentiment import check_levels
from sklearn_speechsent.deploy.entry import Entry, plain, set_state
from sklearn_speechsent.deploy.networks import Record, Tensors, WeightsName
from sklearn_speechsent.deploy.values import (
    Array,
    Choice,
    Domain,
    Labels,
    Levels,
    Place,
    Plain,
    Seed,
    Size,
    whole,
)
from sklearn_speechsent.nn import EncoderNetwork, SentimentNetwork
from sklearn_speechsent.pretrained import SpeakerWeights
from sklearn_speechsent.sentiment import SpeechSentimentClassifier, SpeechSentimentRegressor


def _get_net(model: Any) -> dict[str, Any]:
    names = ("n_features_in_", "frame_shape_", "embedding_size_", "levels_", "prior_ratio_")
    found = {name: getattr(model, name) for name in (*names, "weights_") if hasattr(model, name)}
    return {**found, "domain_": model.domain_, "network": model._network.state_dict()}


def _put_net(model: Any, values: dict[str, Any], place: Place) -> None:
    state, shape = values.pop("network"), values["frame_shape_"]
    set_state(model, values, place)
    if not isinstance(shape, tuple) or not 1 <= len(shape) <= 2:
        raise ValueError(f"frames do not have the shape {shape!r:.60}.")
    for size in shape:
        whole(1, 2**20).read(size, place, None)
    if hasattr(model, "levels_"):
        check_levels(model.levels_)
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
            **plain("ordinal two_headed prior_correction on_error chunk_duration spec_augment"),
            **plain("sampling_exponent lr lr_schedule max_gradient_norm max_epochs"),
            **plain("average_epochs batch_size precision early_stopping validation_fraction"),
            **plain("patience warm_start criterion__regression_weight criterion__ordinal_weight"),
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
        "iterator_valid__ dataset__ n_jobs verbose device",
        "levels_ prior_ratio_",
        ("spec_augment", "optimizer"),
        get=_get_net,
        put=_put_net,
    )


TRAINED_NETWORKS = [_network(SpeechSentimentClassifier), _network(SpeechSentimentRegressor)]

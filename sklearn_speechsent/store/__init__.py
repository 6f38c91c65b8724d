"""Features that are kept on disk, one entry per utterance."""

from sklearn_speechsent.store.compute import fill
from sklearn_speechsent.store.feature_store import FeatureStore, as_store
from sklearn_speechsent.store.keys import (
    as_key_array,
    digest,
    settings_digest,
    utterance_keys,
)
from sklearn_speechsent.store.shard import StoreError
from sklearn_speechsent.store.step_cache import Shelf

__all__ = [
    "FeatureStore",
    "Shelf",
    "StoreError",
    "as_key_array",
    "as_store",
    "digest",
    "fill",
    "settings_digest",
    "utterance_keys",
]

"""Features stored on disk, one entry per utterance."""

from sklearn_speechsent.store.feature_store import FeatureStore, NullStore, check_store
from sklearn_speechsent.store.keys import digest, utterance_keys
from sklearn_speechsent.store.rows import FrameRows, RecordingRows
from sklearn_speechsent.store.shard import StoreError

__all__ = [
    "FeatureStore",
    "FrameRows",
    "NullStore",
    "RecordingRows",
    "StoreError",
    "check_store",
    "digest",
    "utterance_keys",
]

"""Fitted models on their way to where they are used: bundles without pickle."""

from sklearn_speechsent.deploy.bundle import load_model, save_model
from sklearn_speechsent.deploy.errors import BundleError
from sklearn_speechsent.deploy.hub import from_hub, push_to_hub

__all__ = ["BundleError", "from_hub", "load_model", "push_to_hub", "save_model"]

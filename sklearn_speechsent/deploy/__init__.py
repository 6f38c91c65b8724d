"""Fitted models on their way to where they are used: bundles without pickle."""

from sklearn_speechsent.deploy.bundle import load_model, save_model
from sklearn_speechsent.deploy.errors import BundleError

__all__ = ["BundleError", "load_model", "save_model"]

"""Fitted models on their way to where they are used: bundles without pickle, the hub, ONNX."""

from sklearn_speechsent.deploy.bundle import load_model, save_model
from sklearn_speechsent.deploy.errors import BundleError
from sklearn_speechsent.deploy.hub import from_hub, push_to_hub
from sklearn_speechsent.deploy.onnx import export_onnx

__all__ = ["BundleError", "export_onnx", "from_hub", "load_model", "push_to_hub", "save_model"]

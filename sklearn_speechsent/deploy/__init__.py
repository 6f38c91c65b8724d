"""Fitted pipelines as files that travel."""

from sklearn_speechsent.deploy.onnx import export_onnx

__all__ = ["export_onnx"]

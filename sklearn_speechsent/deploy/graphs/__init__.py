"""Graphs of ONNX that compute what the steps of a pipeline do."""

"""Networks as graphs of ONNX, and what runs them."""

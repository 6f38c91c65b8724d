"""``speechsent export``: a model as ONNX."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sklearn_speechsent.cli import options
from sklearn_speechsent.cli.models import load


def export(
    out: Annotated[Path, typer.Argument(help="File .onnx.", show_default=False)],
    model: options.Model = options.READY,
) -> None:
    """Write a model as one ONNX graph, from samples at 16 kHz to probabilities."""
    from sklearn_speechsent.deploy import export_onnx

    print(f"Exported: {export_onnx(load(model), out)}", file=sys.stderr)

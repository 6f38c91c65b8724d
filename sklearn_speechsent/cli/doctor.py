"""``speechsent doctor``: what an error report needs."""

from __future__ import annotations

import os
import platform

from sklearn_speechsent.cli import options
from sklearn_speechsent.cli.output import chosen_format, written
from sklearn_speechsent.utils.versions import installed_versions

_PACKAGES = (
    *("numpy", "scipy", "scikit-learn", "skorch", "torch", "torchaudio", "pandas", "joblib"),
    *("soundfile", "soxr", "safetensors", "onnx", "onnxruntime", "av", "transformers"),
    *("huggingface_hub", "fastapi", "sounddevice", "matplotlib"),
)


def doctor(form: options.OutputFormat = None, output: options.Output = None) -> None:
    """Show versions, processor, threads, weights and the data home."""
    versions = installed_versions(_PACKAGES, absent="not installed")
    facts = [*versions.items(), *_machine(), *_data()]
    with written(["what", "found"], chosen_format(form, output), output) as write:
        write({"what": what, "found": found} for what, found in facts)


def _machine() -> list[tuple[str, str]]:
    import soundfile
    import torch

    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return [
        ("system", platform.platform()),
        ("processor", f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"),
        ("cores", str(cores)),
        ("threads of torch", str(torch.get_num_threads())),
        ("CUDA device", cuda),
        ("libsndfile", soundfile.__libsndfile_version__),
    ]


def _data() -> list[tuple[str, str]]:
    from sklearn_speechsent.cli.options import READY
    from sklearn_speechsent.datasets import get_data_home
    from sklearn_speechsent.deploy.ready import find_ready
    from sklearn_speechsent.pretrained import REGISTRY, has_weights

    home = get_data_home()
    state = "writable" if os.access(home, os.W_OK) else "read-only" if home.is_dir() else "absent"
    try:
        ready = str(find_ready(READY))
    except FileNotFoundError:
        ready = "not there"
    facts = [("data home", f"{home} ({state})"), (f"model {READY}", ready)]
    return facts + [
        (f"weights {name}", "there" if has_weights(name) else "not there")
        for name in sorted(REGISTRY)
    ]

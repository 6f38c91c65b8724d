"""Training loop of the recipes, validated on held-out data and resumed after an interruption."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from sklearn_speechsent.utils.files import atomic_write

WARM_UP, DECAY, CLIP = 0.1, 1e-4, 5.0
#: File of the state, in the folder of a run.
STATE = "state.pt"
#: Steps between two validations, after which the state may be stored.
EPOCH = 100
#: Steps that the mean of the weights reaches back, about.
MEMORY = 500
#: Seconds of training between two states that are stored, at least.
SAVE_EVERY = 20.0


def add_options(parser: Any, run: str, steps: int) -> None:
    """Options that the recipes share.

    Parameters
    ----------
    parser : ArgumentParser
    run : str
        Default folder of the state that an interrupted run resumes from.
    steps : int
        Default number of steps.
    """
    parser.add_argument("--run", type=Path, default=Path(run), help="folder to resume from")
    parser.add_argument("--weights", type=Path, default=None, help="default: in --run")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu", help="where to train, such as cuda")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes for sounds")
    parser.add_argument("--precision", default="bfloat16", choices=["float32", "bfloat16"])


def autocast(precision: str, device: str = "cpu") -> torch.autocast:
    """Context of a precision."""
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=precision == "bfloat16")


@torch.no_grad()
def follow(mean: Mapping[str, Tensor], network: nn.Module, step: int, memory: int = MEMORY) -> None:
    """Move a mean of weights towards those after a step; early ones are soon forgotten.

    Parameters
    ----------
    mean : mapping of str to Tensor
        State of a network, which is changed.
    network : Module
    step : int
    memory : int
        Steps that the mean reaches back, about.
    """
    share = max(1 / memory, 9 / (10 + step))
    old, new = [], []
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            old.append(mean[name])
            new.append(value)
        else:
            mean[name].copy_(value)
    torch._foreach_lerp_(old, new, share)


def learning_rate(step: int, n_steps: int, peak: float) -> float:
    """Warm up linearly, then fall along half a cosine.

    Parameters
    ----------
    step, n_steps : int
    peak : float

    Returns
    -------
    float
    """
    warm = WARM_UP * n_steps
    if step < warm:
        return peak * (step + 1) / warm
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / (n_steps - warm)))


def train(
    options: Any,
    modules: Mapping[str, nn.Module],
    make_batch: Callable[[int, int], Any],
    losses_of: Callable[[Any], dict[str, Tensor]],
    weights: Mapping[str, float],
    validate: Callable[[], dict[str, float]],
    peak: float,
    *,
    decay: float = DECAY,
    after_step: Callable[[int], None] = lambda step: None,
    after_save: Callable[[dict[str, Any]], None] = lambda record: None,
) -> dict[str, Any]:
    """Take the steps that are left.

    Parameters
    ----------
    options : Namespace
        Of `add_options`.
    modules : mapping of str to Module
        Modules to train, and such without gradient that belong to the state.
    make_batch : callable
        Makes the batch of ``(seed, step)``, always the same. Runs one step ahead in a thread.
    losses_of : callable
        Losses by name of a batch.
    weights : mapping of str to float
        Of each loss in their sum.
    validate : callable
        Figures on held-out data.
    peak : float
        Largest learning rate.
    decay : float
        Of the weights.
    after_step, after_save : callable
        Called with the number of a step that was taken, and with the record of a stored state.

    Returns
    -------
    dict
        Settings, seconds and history of the run.
    """
    options.run.mkdir(parents=True, exist_ok=True)
    every = [p for module in modules.values() for p in module.parameters()]
    parameters = [p for p in every if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=peak, weight_decay=decay)
    settings = {"seed": options.seed, "steps": options.steps, "precision": options.precision}
    record: dict[str, Any] = {**settings, "step": 0, "seconds": 0.0, "history": []}
    path = options.run / STATE
    if path.exists():
        saved = torch.load(path, map_location="cpu", weights_only=True)
        record = json.loads(saved["record"])
        if any(record[name] != value for name, value in settings.items()):
            raise SystemExit(f"{path} is of another run: {record}. Choose another --run.")
        for name, module in modules.items():
            module.load_state_dict(saved[name])
        optimizer.load_state_dict(saved["optimizer"])
    progress = tqdm(initial=record["step"], total=options.steps, unit="step", mininterval=10)
    sums: dict[str, Any] = {}
    started = time.perf_counter() - record["seconds"]
    saved_at = validated_at = time.perf_counter()
    with ThreadPoolExecutor(1) as ahead:
        upcoming = ahead.submit(make_batch, options.seed, record["step"])
        for step in range(record["step"], options.steps):
            batch = upcoming.result()
            upcoming = ahead.submit(make_batch, options.seed, step + 1)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, options.steps, peak)
            losses = losses_of(batch)
            optimizer.zero_grad()
            sum(weights[name] * value for name, value in losses.items()).backward()
            nn.utils.clip_grad_norm_(parameters, CLIP)
            optimizer.step()
            # As tensors: looking at a number waits for the device.
            sums = {name: sums.get(name, 0.0) + losses[name].detach().double() for name in weights}
            after_step(step)
            progress.update()
            if (step + 1) % EPOCH == 0 or step + 1 == options.steps:
                count = step % EPOCH + 1
                entry: dict[str, Any] = {"step": step + 1}
                entry |= {name: round(float(value) / count, 4) for name, value in sums.items()}
                entry["held out"] = validate()
                now = time.perf_counter()
                rate = {"steps per second": round(count / (now - validated_at), 2)}
                progress.write(json.dumps(entry | rate))
                validated_at, sums = now, {}
                record["history"].append(entry)
                record |= {"step": step + 1, "seconds": round(now - started, 1)}
                if now - saved_at > SAVE_EVERY or step + 1 == options.steps:
                    saved_at = now
                    _save(path, modules, optimizer, record)
                    after_save(record)
    return record


def _save(
    path: Path, modules: Mapping[str, nn.Module], optimizer: Any, record: Mapping[str, Any]
) -> None:
    """Store the state of a run."""
    state = {name: module.state_dict() for name, module in modules.items()}
    state["optimizer"] = optimizer.state_dict()
    content = BytesIO()
    torch.save({**state, "record": json.dumps(record)}, content)
    atomic_write(path, content.getvalue())


def halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in float16; statistics and biases, which are small, stay as they are."""
    return {name: t.half() if t.ndim > 1 else t for name, t in state.items()}

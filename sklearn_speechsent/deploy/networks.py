"""Rules of networks in a bundle: their weights inside, or named by registry name and checksum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sklearn_speechsent.deploy.values import Place, Plain, Rule
from sklearn_speechsent.nn import WhisperEncoder
from sklearn_speechsent.pretrained import (
    REGISTRY,
    EncoderWeights,
    SpeakerWeights,
    VADWeights,
    load_encoder_weights,
    load_vad_weights,
    load_weights,
)
from sklearn_speechsent.pretrained.architecture import (
    SPEAKER_ARCHITECTURE,
    VAD_ARCHITECTURE,
    check_architecture,
)

#: Parameter of weights that are in the bundle and have no name in the registry.
IN_BUNDLE = "(in the bundle)"
#: Reader of registered weights, names of the architecture, and fields of the record, by class.
_KINDS: dict[type, tuple[Callable[[Any], Any], tuple[str, ...]]] = {
    SpeakerWeights: (load_weights, SPEAKER_ARCHITECTURE),
    VADWeights: (load_vad_weights, VAD_ARCHITECTURE),
    EncoderWeights: (load_encoder_weights, ("n_mels", "width", "n_blocks", "n_positions")),
}
#: What a record says of the origin of weights.
_ORIGIN = ("licence", "attribution", "revision")
#: Largest number in an architecture, and most blocks in all.
_WIDEST, _DEEPEST = 2**17, 512


class WeightsName(Rule):
    """Parameter that names pre-trained weights: only names of the registry leave this machine."""

    def write(self, value: Any, place: Place, writer: Any) -> Any:
        """Registered name; paths and verifiers become `IN_BUNDLE`."""
        if value is None or (isinstance(value, str) and value in REGISTRY):
            return value
        return IN_BUNDLE

    def read(self, found: Any, place: Place, reader: Any) -> Any:
        """Registered name or `IN_BUNDLE`, never a path."""
        if found is not None and (
            not isinstance(found, str) or found not in {*REGISTRY, IN_BUNDLE}
        ):
            raise place.refuse(f"{found!r:.60} is not a name in the registry of weights.")
        return found


@dataclass
class Record(Rule):
    """What is known of weights, without their tensors.

    Parameters
    ----------
    kind : type
        One of `SpeakerWeights`, `VADWeights` and `EncoderWeights`.
    optional : bool
        Whether it may be None.
    """

    kind: type
    optional: bool = False

    def write(self, value: Any, place: Place, writer: Any) -> Any:
        """Fields of the record; the bundle's manifest lists the origin."""
        if value is None and self.optional:
            return None
        name = value.name if value.name in REGISTRY else Path(value.name).name
        origin = {key: str(value.extra[key]) for key in _ORIGIN if key in value.extra}
        writer.weights.append({"name": name, "sha256": value.sha256, **origin})
        found = {"name": name, "sha256": value.sha256, "extra": origin}
        for field in ("architecture", "frame_settings", "folded"):
            if hasattr(value, field):
                content = getattr(value, field)
                content = dict(content) if isinstance(content, Mapping) else content
                found[field] = Plain().write(content, place.below(field), writer)
        return found

    def read(self, found: Any, place: Place, reader: Any) -> Any:
        """Record whose architecture is one that can be built."""
        if found is None and self.optional:
            return None
        fields = {"name", "sha256", "extra", "architecture"}
        fields |= {"frame_settings"} if self.kind is not EncoderWeights else set()
        fields |= {"folded"} if self.kind is SpeakerWeights else set()
        if not isinstance(found, dict) or set(found) != fields:
            raise place.refuse(f"weights have {', '.join(sorted(fields))}, and nothing else.")
        values = {name: Plain().read(found[name], place, reader) for name in fields - {"extra"}}
        extra = found["extra"]
        texts = [values["name"], values["sha256"]]
        if not isinstance(extra, dict) or set(extra) - {*_ORIGIN}:
            raise place.refuse(f"extra has {', '.join(_ORIGIN)} at most.")
        if not all(isinstance(text, str) for text in [*texts, *extra.values()]):
            raise place.refuse("name, sha256 and origin of weights are texts.")
        values["architecture"] = self._architecture(values["architecture"], place)
        settings = values.get("frame_settings", {"n_mels": None})
        if not isinstance(settings, dict) or "n_mels" not in settings:
            raise place.refuse("frame_settings must state n_mels.")
        if type(values.get("folded", True)) is not bool:
            raise place.refuse("folded must be true or false.")
        return self.kind(state={}, extra=extra, **values)

    def _architecture(self, architecture: Any, place: Place) -> dict[str, Any]:
        found = check_architecture(architecture, _KINDS[self.kind][1], place.name)
        numbers = [n for v in found.values() for n in (v if isinstance(v, tuple) else (v or 1,))]
        blocks = sum(found.get("depths", (found.get("n_blocks", 1),)))
        if max(numbers) > _WIDEST or len(numbers) > _DEEPEST or blocks > _DEEPEST:
            raise place.refuse(f"no network has the architecture {found!r:.200}.")
        return found


class Tensors(Rule):
    """All tensors of a network."""

    def write(self, value: Mapping[str, torch.Tensor], place: Place, writer: Any) -> Any:
        """Number of the tensors, which are stored by their keys."""
        for key, tensor in value.items():
            writer.arrays.add(f"{place.name}/{key}", tensor)
        return {"embedded": len(value)}

    def read(self, found: Any, place: Place, reader: Any) -> dict[str, torch.Tensor]:
        """Tensors by key, those with a fraction in single precision."""
        if not isinstance(found, dict) or set(found) != {"embedded"}:
            raise place.refuse(f"{found!r:.60} does not describe a network.")
        state = reader.tensors_below(place)
        if found["embedded"] != len(state):
            raise place.refuse(f"{len(state)} tensors are stored of {found['embedded']!r:.20}.")
        for key, tensor in state.items():
            if not torch.isfinite(tensor).all():
                raise place.refuse(f"{key!r:.80} holds NaN or infinity.")
        return state


@dataclass
class Frozen(Tensors):
    """Tensors of a frozen network, which may be those of the registry.

    Parameters
    ----------
    kind : type
        Of its record. The value to write is a pair of the tensors and the record; read is a
        record with tensors.
    """

    kind: type

    def write(self, value: Any, place: Place, writer: Any) -> Any:
        """Registered name and checksum if that is asked for and suffices, else the tensors."""
        state, record = value
        if writer.reference and record.name in REGISTRY:
            registered = _KINDS[self.kind][0](record.name)
            same = all(
                key in registered.state and torch.equal(registered.state[key], tensor.float())
                for key, tensor in state.items()
                if tensor.is_floating_point()
            )
            if same:
                return {"registered": record.name, "sha256": registered.sha256}
        return super().write(state, place, writer)

    def read(self, found: Any, place: Place, reader: Any) -> dict[str, torch.Tensor]:
        """Tensors of the bundle or of the registry."""
        if not isinstance(found, dict) or set(found) != {"registered", "sha256"}:
            return super().read(found, place, reader)
        name = WeightsName().read(found["registered"], place, reader)
        if name not in REGISTRY:
            raise place.refuse(f"{name!r:.60} is not a name in the registry of weights.")
        # Weights of an earlier version of the package have another name now.
        former = {entry.sha256: entry.name for entry in REGISTRY.values() if entry.former}
        name = former.get(str(found["sha256"]), name)
        weights = _KINDS[self.kind][0](name)
        if weights.sha256 != found["sha256"]:
            raise place.refuse(
                f"the weights {name!r} have sha256 {weights.sha256} here, and the bundle was saved "
                f'with {found["sha256"]!r:.80}. Save it with weights="embed".'
            )
        return weights.state


def encoder_state(network: Any, place: Place) -> dict[str, torch.Tensor]:
    """Tensors of a Whisper encoder as its file has them.

    Parameters
    ----------
    network : WhisperEncoder
        Prepared: attention has one product of matrices of three.
    place : Place

    Returns
    -------
    dict of str to Tensor

    Raises
    ------
    BundleError
        If it is another encoder.
    """
    if type(network) is not WhisperEncoder:
        raise place.refuse(
            f"{type(network).__name__}: of speech encoders, a bundle holds Whisper only. Use "
            "joblib.dump, whose files run code when they are loaded."
        )
    state = {}
    for key, tensor in network.state_dict().items():
        if ".joined." not in key:
            state[key] = tensor.float()
            continue
        for part, values in zip(("query", "key", "value"), tensor.float().chunk(3), strict=True):
            if (part, key.rpartition(".")[2]) != ("key", "bias"):  # which it does not have
                state[key.replace("joined", part)] = values
    return state

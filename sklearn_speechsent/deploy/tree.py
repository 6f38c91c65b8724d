"""Estimators inside of estimators, written to and read from one tree of JSON and its tensors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from inspect import Parameter, signature
from typing import Any

import torch
from sklearn.utils.validation import check_is_fitted

from sklearn_speechsent.deploy.entry import Entry
from sklearn_speechsent.deploy.errors import BundleError
from sklearn_speechsent.deploy.table import TABLE
from sklearn_speechsent.deploy.values import Arrays, Place
from sklearn_speechsent.sentiment.kernel_machine import without_libsvm
from sklearn_speechsent.sentiment.net import NET_CONSTRAINTS, SpeechSentimentNet
from sklearn_speechsent.utils.sklearn_compat import BaseSearchCV, validate_parameter_constraints

#: Estimators inside of estimators, at most.
_DEEPEST = 12
#: Those that multiply what is computed.
_NOT_IN_ITSELF = {"WaveformPerturbation"}
_PICKLE = "joblib.dump saves it, in a file that runs code when it is loaded."


def _reason(model: Any) -> str:
    """Why a class is not in the table, and what to do."""
    name = type(model).__name__
    if isinstance(model, BaseSearchCV):
        return f"{name} is a search: save its best_estimator_."
    if hasattr(model, "tree_") or "Boosting" in name or "Forest" in name or "Tree" in name:
        return (
            f"{name} predicts with trees, which scikit-learn follows without looking where a file "
            f"sends it: a bundle does not hold them. Use a support vector machine, or a pickle: "
            f"{_PICKLE}"
        )
    known = [kind for kind in TABLE if isinstance(model, TABLE[kind].kind)]
    subclass = f" It is not {known[0]}, whose subclass it is." if known else ""
    return (
        f"a bundle does not hold {name}.{subclass} It holds {', '.join(sorted(TABLE))}. {_PICKLE}"
    )


def _defaults(kind: type) -> dict[str, Any]:
    """Default of each parameter of a class that has one."""
    return {
        name: parameter.default
        for name, parameter in signature(kind).parameters.items()
        if parameter.default is not Parameter.empty
    }


@dataclass
class Writer:
    """Writes estimators.

    Parameters
    ----------
    arrays : Arrays
        Takes their tensors.
    reference : bool
        Whether weights of the registry are named and not written.
    weights : list of dict
        Origin of the weights of each network that was written.
    """

    arrays: Arrays
    reference: bool
    weights: list[dict[str, str]] = field(default_factory=list)

    def estimator(self, model: Any, place: Place) -> dict[str, Any]:
        """Class, parameters and state of an estimator.

        Parameters
        ----------
        model : estimator
        place : Place

        Returns
        -------
        dict

        Raises
        ------
        BundleError
            If its class is not in the table, or it holds what JSON and tensors cannot hold.
        """
        place = replace(place, dims={})
        try:
            if place.fitted:
                check_is_fitted(model)
                model = without_libsvm(model)
            entry = TABLE.get(type(model).__name__)
            if entry is None or type(model) is not entry.kind:
                raise BundleError(f"{place.name or 'The model'}: {_reason(model)}")
            return {
                "class": type(model).__name__,
                "params": self._params(model, entry, place),
                "state": self._state(model, entry, place) if place.fitted else None,
            }
        except BundleError:
            raise
        except (ValueError, TypeError) as error:
            raise place.refuse(str(error)) from error

    def _params(self, model: Any, entry: Entry, place: Place) -> dict[str, Any]:
        """Parameters that differ from their defaults."""
        defaults = _defaults(entry.kind)
        written, left = {}, []
        for name, value in sorted(model.get_params(deep=False).items()):
            rule = entry.params.get(name)
            default = defaults.get(name, Parameter.empty)
            if rule is None:
                self._check_dropped(name, entry, place)
                training = name not in ("n_jobs", "memory", "verbose", "device", "resume")
                if training and value is not default and isinstance(model, SpeechSentimentNet):
                    left.append(name)
                continue
            if value is default:
                continue
            try:
                found = rule.write(value, place.below(name), self)
            except BundleError:
                if not name.startswith(entry.training):
                    raise
                left.append(name)
                continue
            if default is Parameter.empty or repr(value) != repr(default):
                written[name] = found
        if left:
            warnings.warn(
                f"{place.name}: {', '.join(left)} matter in training only and are not in the "
                "bundle. What it predicts is the same.",
                UserWarning,
                stacklevel=2,
            )
        return written

    @staticmethod
    def _check_dropped(name: str, entry: Entry, place: Place) -> None:
        dropped = entry.dropped.split()
        prefixed = any(name.startswith(other) for other in dropped if other.endswith("__"))
        if name not in dropped and name not in entry.blank and not prefixed:
            raise place.below(name).refuse(
                f"a bundle does not hold this parameter of {entry.kind.__name__}. {_PICKLE}"
            )

    def _state(self, model: Any, entry: Entry, place: Place) -> dict[str, Any]:
        names = entry.state
        found = {n: getattr(model, n) for n in names if hasattr(model, n)}
        if entry.get is not None:
            found = entry.get(model)
        absent = set(names) - set(found) - set(entry.optional.split())
        if absent:
            raise place.refuse(f"it has no {', '.join(sorted(absent))}: fit it first.")
        return {
            name: rule.write(found[name], place.below(name), self)
            for name, rule in names.items()
            if name in found
        }


@dataclass
class Reader:
    """Reads estimators, once all that is read was checked.

    Parameters
    ----------
    tensors : mapping of str to Tensor
    """

    tensors: Mapping[str, torch.Tensor]
    used: set[str] = field(default_factory=set)
    classes: list[str] = field(default_factory=list)

    def tensor(self, place: Place) -> torch.Tensor:
        """Tensor at a place."""
        if place.name not in self.tensors or place.name in self.used:
            raise place.refuse("its array is missing, or was read before.")
        self.used.add(place.name)
        return self.tensors[place.name]

    def tensors_below(self, place: Place) -> dict[str, torch.Tensor]:
        """Tensors of a network at a place, by key."""
        prefix = f"{place.name}/"
        names = [name for name in self.tensors if name.startswith(prefix)]
        self.used.update(names)
        return {name.removeprefix(prefix): self.tensors[name] for name in names}

    def estimator(self, found: Any, place: Place) -> Any:
        """Estimator of a class in the table.

        Parameters
        ----------
        found : object
            From JSON.
        place : Place

        Returns
        -------
        estimator

        Raises
        ------
        BundleError
            If class, parameters or state are not those of the table.
        FileNotFoundError
            If weights of the registry are not there.
        """
        place = replace(place, dims={})
        outer = len(self.classes)
        try:
            return self._estimator(found, place)
        except (BundleError, FileNotFoundError):
            raise
        except (ValueError, TypeError, RuntimeError, OverflowError, KeyError) as error:
            raise place.refuse(f"{type(error).__name__}: {error}") from error
        finally:
            del self.classes[outer:]

    def _estimator(self, found: Any, place: Place) -> Any:
        if not isinstance(found, dict) or set(found) != {"class", "params", "state"}:
            raise place.refuse(f"{found!r:.60} does not describe an estimator.")
        name, params, state = found["class"], found["params"], found["state"]
        entry = TABLE.get(name) if isinstance(name, str) else None
        if entry is None:
            raise place.refuse(f"class {name!r:.60} is not one that a bundle may hold.")
        if len(self.classes) == _DEEPEST or name in set(self.classes) & _NOT_IN_ITSELF:
            raise place.refuse(f"{name} is too deep in other estimators.")
        self.classes.append(name)
        if not isinstance(params, dict) or (unknown := set(params) - set(entry.params)):
            listed = sorted(unknown)[:3] if isinstance(params, dict) else params
            raise place.refuse(f"parameters {listed!r:.80} are not those of {name}.")
        values = {
            key: entry.params[key].read(v, place.below(key), self) for key, v in params.items()
        }
        model = entry.kind(**{**entry.blank, **values})
        self._check_params(model, {**model.get_params(deep=False)}, entry)
        if not place.fitted:
            if state is not None:
                raise place.refuse("this estimator has no state.")
            return model
        required = set(entry.state) - set(entry.optional.split())
        if not isinstance(state, dict) or not required <= set(state) <= set(entry.state):
            raise place.refuse(f"the state of {name} is {sorted(required)}.")
        attributes = {
            key: rule.read(state[key], place.below(key), self)
            for key, rule in entry.state.items()
            if key in state
        }
        entry.put(model, attributes, place)
        return model

    @staticmethod
    def _check_params(model: Any, params: dict[str, Any], entry: Entry) -> None:
        is_net = isinstance(model, SpeechSentimentNet)
        own = getattr(entry.kind, "_parameter_constraints", {})
        constraints = NET_CONSTRAINTS if is_net else own
        checked = {
            name: rule
            for name, rule in constraints.items()
            if name in entry.params and name not in entry.blank
        }
        validate_parameter_constraints(
            checked,
            {name: value for name, value in params.items() if name in checked},
            caller_name=entry.kind.__name__,
        )

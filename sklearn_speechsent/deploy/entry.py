"""Entry of the closed table: one class that a bundle may hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sklearn_speechsent.deploy.values import Names, Place, Plain, Rule, Size

Put = Callable[[Any, dict[str, Any], Place], None]


def set_state(model: Any, values: dict[str, Any], place: Place) -> None:
    """Set fitted attributes as they are."""
    for name, value in values.items():
        setattr(model, name, value)


@dataclass
class Entry:
    """One class that a bundle may hold.

    Parameters
    ----------
    kind : type
        Of exactly this class; subclasses are other classes.
    params : dict of str to Rule
        Parameters that are saved where they differ from their defaults.
    state : dict of str to Rule
        What is learned, in the order in which it is read.
    dropped : str
        Parameters that belong to a machine or to training alone, separated by spaces. A name that
        ends in ``__`` stands for all parameters with this prefix.
    optional : str
        Of ``state``, what may be absent.
    training : tuple of str
        Beginnings of parameters that may be left out, since they do not matter after training.
    blank : dict
        Arguments of the constructor that ``put`` replaces.
    get : callable, optional
        State of a fitted estimator, by default its attributes.
    put : callable
        Gives an estimator its state, and raises ValueError where parts do not fit each other.
    """

    kind: type
    params: dict[str, Rule] = field(default_factory=dict)
    state: dict[str, Rule] = field(default_factory=dict)
    dropped: str = ""
    optional: str = ""
    training: tuple[str, ...] = ()
    blank: dict[str, Any] = field(default_factory=dict)
    get: Callable[[Any], dict[str, Any]] | None = None
    put: Put = set_state


def plain(names: str) -> dict[str, Rule]:
    """Rules of plain parameters, by their names in one text."""
    return {name: Plain() for name in names.split()}


#: State of every step that takes a table.
OF_TABLES: dict[str, Rule] = {"n_features_in_": Size("n"), "feature_names_in_": Names()}
#: Parameters that say how a step runs on one machine.
MACHINE = "n_jobs memory verbose device backend"

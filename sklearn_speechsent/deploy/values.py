"""Rules of the values in a bundle: how each is written, and what it must be to be read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_speechsent.deploy.errors import BundleError

#: Types of arrays, and narrower ones that they may be stored in where that loses nothing.
_STORED = {
    "float64": (torch.float64, torch.float32, torch.float16),
    "float32": (torch.float32, torch.float16),
    "int64": (torch.int64,),
    "bool": (torch.bool,),
}
_NAME = re.compile(r"[\w-]{1,100}", re.ASCII)
#: Values of a row of a table.
_MOST_FEATURES = 2**20
#: Whole numbers, texts and lists beyond these are no parameters.
_LARGEST, _LONGEST_TEXT, _LONGEST_LIST, _DEEPEST = 2**32, 2000, 1000, 6


@dataclass
class Arrays:
    """Tensors that go into a bundle.

    Parameters
    ----------
    half : bool
        Whether matrices are rounded to half precision.
    """

    half: bool
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)

    def add(self, name: str, tensor: torch.Tensor) -> None:
        """Store a tensor in the narrowest type that holds its values."""
        tensor = tensor.detach().cpu().contiguous()
        if tensor.is_floating_point():
            if not torch.isfinite(tensor).all():
                raise BundleError(f"{name} holds NaN or infinity, which a bundle does not.")
            for dtype in (torch.float16, torch.float32):
                narrow = tensor.to(dtype)
                rounded = self.half and tensor.ndim > 1 and bool(torch.isfinite(narrow).all())
                if dtype.itemsize < tensor.dtype.itemsize and (
                    rounded or torch.equal(narrow.to(tensor.dtype), tensor)
                ):
                    tensor = narrow
                    break
        # Two names may share memory, which safetensors refuses.
        self.tensors[name] = tensor.clone()


@dataclass
class Place:
    """Where in a model a value stands.

    Parameters
    ----------
    name : str
        Dotted path, which names arrays and stands in messages.
    fitted : bool
        Whether the estimator here has state.
    dims : dict of str to int
        Sizes that arrays of one estimator share, as far as they are known.
    """

    name: str
    fitted: bool = True
    dims: dict[str, int] = field(default_factory=dict)

    def below(self, part: object) -> Place:
        """Place of a part of this one."""
        return replace(self, name=f"{self.name}.{part}" if self.name else str(part))

    def refuse(self, text: str) -> BundleError:
        """Error about this place."""
        return BundleError(f"{self.name}: {text}")


class Rule:
    """How one value is written and read."""

    def write(self, value: Any, place: Place, writer: Any) -> Any:
        """Value as JSON; arrays go to ``writer.arrays``."""
        raise NotImplementedError

    def read(self, found: Any, place: Place, reader: Any) -> Any:
        """Value from JSON and the tensors of ``reader``, or a `BundleError`."""
        raise NotImplementedError


class Plain(Rule):
    """Parameter of numbers, texts, None, and lists, tuples and dicts of these."""

    def write(self, value: Any, place: Place, writer: Any) -> Any:
        """Tuples and dicts are marked, since JSON has lists and objects only."""
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, (Integral, Real)):
            number = int(value) if isinstance(value, Integral) else float(value)
            if math.isfinite(number):
                return number
        if isinstance(value, list):
            return [self.write(item, place, writer) for item in value]
        if isinstance(value, tuple):
            return {"tuple": [self.write(item, place, writer) for item in value]}
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {"dict": {k: self.write(v, place, writer) for k, v in value.items()}}
        raise place.refuse(
            f"a bundle cannot hold {value!r:.80} ({type(value).__name__}). Set numbers, texts or "
            "lists of them, or use joblib.dump, whose files run code when they are loaded."
        )

    def read(self, found: Any, place: Place, reader: Any, depth: int = 0) -> Any:
        """Bounded in size and depth."""
        if depth > _DEEPEST:
            raise place.refuse("lists are too deep.")
        if found is None or isinstance(found, bool):
            return found
        if isinstance(found, str) and len(found) <= _LONGEST_TEXT:
            return found
        if isinstance(found, (int, float)) and abs(found) <= _LARGEST:
            return found
        if isinstance(found, list) and len(found) <= _LONGEST_LIST:
            return [self.read(item, place, reader, depth + 1) for item in found]
        if isinstance(found, dict) and len(found) == 1:
            ((kind, content),) = found.items()
            if kind == "tuple" and isinstance(content, list):
                return tuple(self.read(content, place, reader, depth + 1))
            if kind == "dict" and isinstance(content, dict) and len(content) <= _LONGEST_LIST:
                return {k: self.read(v, place, reader, depth + 1) for k, v in content.items()}
        raise place.refuse(f"{found!r:.60} is not a parameter.")


class Seed(Plain):
    """``random_state``: of a generator nothing is written."""

    def write(self, value: Any, place: Place, writer: Any) -> Any:
        """A generator has been drawn from: it becomes None, a new seed for every fit."""
        return int(value) if isinstance(value, Integral) else None


@dataclass
class Number(Rule):
    """Number within limits.

    Parameters
    ----------
    low, high : float
    whole : bool
    optional : bool
        Whether it may be None.
    """

    low: float = -(2.0**63)
    high: float = 2.0**63
    whole: bool = False
    optional: bool = False

    def write(self, value: Any, place: Place, writer: Any) -> Any:
        """As int or float."""
        if value is None:
            return None
        return self.read(int(value) if self.whole else float(value), place, None)

    def read(self, found: Any, place: Place, reader: Any) -> Any:
        """Within limits."""
        if found is None and self.optional:
            return None
        kinds = (int,) if self.whole else (int, float)
        if isinstance(found, bool) or not isinstance(found, kinds):
            raise place.refuse(f"{found!r:.60} is not a{' whole' * self.whole} number.")
        if not self.low <= found <= self.high:
            raise place.refuse(f"{found!r:.60} is not from {self.low:g} to {self.high:g}.")
        return int(found) if self.whole else float(found)


def whole(low: int, high: int, *, optional: bool = False) -> Number:
    """Rule of a whole number from ``low`` to ``high``."""
    return Number(low, high, True, optional)


class Flag(Rule):
    """True or false."""

    def write(self, value: Any, place: Place, writer: Any) -> Any:
        """As bool."""
        return bool(value)

    def read(self, found: Any, place: Place, reader: Any) -> Any:
        """A bool and no number."""
        if not isinstance(found, bool):
            raise place.refuse(f"{found!r:.60} is neither true nor false.")
        return found


@dataclass
class Choice(Rule):
    """One of a few objects, by name.

    Parameters
    ----------
    objects : mapping of str to object
    """

    objects: Mapping[str, Any]

    def write(self, value: Any, place: Place, writer: Any) -> Any:
        """Name of the object."""
        for name, known in self.objects.items():
            if value is known or value == known:
                return name
        raise place.refuse(
            f"a bundle cannot hold {value!r:.80}, only {', '.join(map(str, self.objects))}."
        )

    def read(self, found: Any, place: Place, reader: Any) -> Any:
        """Object of the name."""
        if not isinstance(found, str) or found not in self.objects:
            raise place.refuse(f"{found!r:.60} is none of {', '.join(self.objects)}.")
        return self.objects[found]


@dataclass
class Array(Rule):
    """Array of finite numbers.

    Parameters
    ----------
    shape : str
        Names of its sizes, such as ``"n k"``: those of one estimator agree. A digit is a size.
    kinds : str
        Types it may have, separated by spaces.
    low, high : float
        Limits of its values.
    optional : bool
        Whether it may be None.
    """

    shape: str
    kinds: str = "float64 float32"
    low: float = -math.inf
    high: float = math.inf
    optional: bool = False

    def write(self, value: Any, place: Place, writer: Any) -> Any:
        """Type and shape; the numbers go to the tensors."""
        if value is None and self.optional:
            return None
        array = np.asarray(value)
        kind = array.dtype.name
        if kind not in self.kinds.split():
            raise place.refuse(f"an array of {kind} is there, and one of {self.kinds} expected.")
        self._fits(array.shape, place)
        writer.arrays.add(place.name, torch.from_numpy(np.array(array)))
        return {"dtype": kind, "shape": list(array.shape)}

    def read(self, found: Any, place: Place, reader: Any) -> NDArray[Any] | None:
        """Array of the tensor at this place."""
        if found is None and self.optional:
            return None
        if not isinstance(found, dict) or set(found) != {"dtype", "shape"}:
            raise place.refuse(f"{found!r:.60} does not describe an array.")
        kind, shape = found["dtype"], found["shape"]
        if not isinstance(kind, str) or kind not in self.kinds.split():
            raise place.refuse(
                f"an array of {kind!r:.20} is there, and one of {self.kinds} wanted."
            )
        whole = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
        if not whole:
            raise place.refuse(f"{shape!r:.60} is not a shape.")
        self._fits(tuple(shape), place)
        tensor = reader.tensor(place)
        if tuple(tensor.shape) != tuple(shape) or tensor.dtype not in _STORED[kind]:
            raise place.refuse(
                f"the stored array has type {tensor.dtype} and shape {tuple(tensor.shape)}, and "
                f"{kind} of shape {tuple(shape)} is expected."
            )
        array = tensor.numpy().astype(kind)
        if array.size and array.dtype.kind != "b":
            lowest, highest = array.min(), array.max()
            # NaN is on neither side.
            if not (np.isfinite(lowest) and lowest >= self.low and highest <= self.high) or (
                not np.isfinite(highest)
            ):
                raise place.refuse(
                    f"values from {lowest:g} to {highest:g} are not finite numbers from "
                    f"{self.low:g} to {self.high:g}."
                )
        return array

    def _fits(self, shape: tuple[int, ...], place: Place) -> None:
        names = self.shape.split()
        if len(names) != len(shape):
            raise place.refuse(f"shape {shape} has not the sizes ({self.shape}).")
        for name, size in zip(names, shape, strict=True):
            known = int(name) if name.isdigit() else place.dims.setdefault(name, size)
            if size != known:
                raise place.refuse(f"shape {shape} does not fit: {name} is {known} elsewhere.")


class Scalar(Array):
    """Finite number that is of a type of NumPy, which decides the type of sums, or of none."""

    def __init__(self) -> None:
        super().__init__("")

    def write(self, value: Any, place: Place, writer: Any) -> Any:
        """Number, or array without dimensions."""
        if type(value) in (int, float):
            return Number().write(value, place, writer)
        return super().write(value, place, writer)

    def read(self, found: Any, place: Place, reader: Any) -> Any:
        """Number, or number of NumPy."""
        if isinstance(found, dict):
            return np.asarray(super().read(found, place, reader))[()]
        return Number().read(found, place, reader)


@dataclass
class Size(Rule):
    """Whole number that is a size of arrays, such as ``n_features_in_``.

    Parameters
    ----------
    name : str
        As in the shapes of :class:`Array`.
    """

    name: str

    def write(self, value: Any, place: Place, writer: Any) -> Any:
        """As int."""
        return int(value)

    def read(self, found: Any, place: Place, reader: Any) -> Any:
        """The size of arrays that were read before or come later."""
        size = whole(1, _MOST_FEATURES).read(found, place, reader)
        if place.dims.setdefault(self.name, size) != size:
            raise place.refuse(f"{size}, but arrays have {place.dims[self.name]}.")
        return size


class Labels(Rule):
    """Different labels: numbers, booleans or texts."""

    def write(self, value: Any, place: Place, writer: Any) -> Any:
        """List with the type of its items."""
        values = np.asarray(value)
        kind = {"U": "text", "O": "text", "b": "bool", "i": "int64", "f": "float64"}.get(
            values.dtype.kind
        )
        if kind is None or values.ndim != 1:
            raise place.refuse(f"{value!r:.60} are not labels.")
        found = {"kind": kind, "values": values.tolist()}
        self.read(found, place, None)
        return found

    def read(self, found: Any, place: Place, reader: Any) -> NDArray[Any]:
        """Array of one dimension."""
        if not isinstance(found, dict) or set(found) != {"kind", "values"}:
            raise place.refuse(f"{found!r:.60} are not labels.")
        kind, values = found["kind"], found["values"]
        kinds: dict[Any, tuple[type, ...]] = {
            "text": (str,),
            "bool": (bool,),
            "int64": (int,),
            "float64": (float, int),
        }
        if not isinstance(kind, str) or kind not in kinds or not isinstance(values, list):
            raise place.refuse(f"{found!r:.60} are not labels.")
        for label in values:
            Plain().read(label, place, reader)
            if type(label) not in kinds[kind]:
                raise place.refuse(f"label {label!r:.60} is not of type {kind}.")
        if not 1 <= len(values) <= _LONGEST_LIST or len(set(values)) < len(values):
            raise place.refuse(f"{len(values)} labels of which some may be alike: {values!r:.60}.")
        return np.array(values, dtype=None if kind == "text" else kind)


class Levels(Labels):
    """Parameter ``levels``: None, or labels."""

    def write(self, value: Any, place: Place, writer: Any) -> Any:
        """None, or as labels."""
        return None if value is None else super().write(list(value), place, writer)

    def read(self, found: Any, place: Place, reader: Any) -> Any:
        """None, or a list."""
        return None if found is None else super().read(found, place, reader).tolist()


class Names(Rule):
    """Names of features."""

    def write(self, value: Any, place: Place, writer: Any) -> Any:
        """List of texts."""
        return [str(name) for name in value]

    def read(self, found: Any, place: Place, reader: Any) -> NDArray[Any]:
        """Array of objects."""
        if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
            raise place.refuse("these are not names of features.")
        if place.dims.setdefault("n", len(found)) != len(found):
            raise place.refuse(f"{len(found)} names for {place.dims['n']} features.")
        return np.array(found, dtype=object)


class Domain(Rule):
    """``domain_``: range of each property of the recordings in fit."""

    def write(self, value: Any, place: Place, writer: Any) -> Any:
        """Lists of two numbers."""
        found = {name: [float(low), float(high)] for name, (low, high) in value.items()}
        self.read(found, place, None)
        return found

    def read(self, found: Any, place: Place, reader: Any) -> dict[str, tuple[float, float]]:
        """Known properties only."""
        if not isinstance(found, dict) or set(found) - {"band_limit", "duration", "speech"}:
            raise place.refuse(f"{found!r:.60} are not properties of recordings.")
        domain = {}
        for name, limits in found.items():
            if not isinstance(limits, list) or len(limits) != 2:
                raise place.refuse(f"{limits!r:.60} is not a range.")
            low, high = (Number(0.0, 1e9).read(limit, place, reader) for limit in limits)
            if low > high:
                raise place.refuse(f"the range {limits} is empty.")
            domain[name] = (low, high)
        return domain


@dataclass
class Nested(Rule):
    """Estimator inside of another one.

    Parameters
    ----------
    fitted : bool, optional
        None: as the one it is in.
    optional : bool
        Whether it may be None.
    """

    fitted: bool | None = None
    optional: bool = False

    def write(self, value: Any, place: Place, writer: Any) -> Any:
        """As its entry in the table says."""
        if value is None and self.optional:
            return None
        return writer.estimator(value, self._inside(place))

    def read(self, found: Any, place: Place, reader: Any) -> Any:
        """As its entry in the table says."""
        if found is None and self.optional:
            return None
        return reader.estimator(found, self._inside(place))

    def _inside(self, place: Place) -> Place:
        return place if self.fitted is None else replace(place, fitted=self.fitted)


class Several(Rule):
    """List of estimators."""

    def write(self, value: Any, place: Place, writer: Any) -> Any:
        """List."""
        return [writer.estimator(item, place.below(k)) for k, item in enumerate(value)]

    def read(self, found: Any, place: Place, reader: Any) -> list[Any]:
        """List."""
        if not isinstance(found, list) or not 0 < len(found) <= _LONGEST_LIST:
            raise place.refuse("this is not a list of estimators.")
        return [reader.estimator(item, place.below(k)) for k, item in enumerate(found)]


class Steps(Rule):
    """Estimators by name, in order; ``"passthrough"`` and ``"drop"`` stand for none."""

    def write(self, value: Any, place: Place, writer: Any) -> Any:
        """Pairs of a name and an estimator."""
        self._check_names([name for name, _ in value], place)
        return [
            [name, self._nothing(step) or writer.estimator(step, place.below(name))]
            for name, step in value
        ]

    def read(self, found: Any, place: Place, reader: Any) -> list[tuple[str, Any]]:
        """Pairs of a name and an estimator."""
        pairs = isinstance(found, list) and all(isinstance(p, list) and len(p) == 2 for p in found)
        if not pairs or not 0 < len(found) <= _LONGEST_LIST:
            raise place.refuse("this is not a list of steps.")
        self._check_names([name for name, _ in found], place)
        return [
            (name, self._nothing(step) or reader.estimator(step, place.below(name)))
            for name, step in found
        ]

    @staticmethod
    def _check_names(names: list[Any], place: Place) -> None:
        good = all(isinstance(n, str) and _NAME.fullmatch(n) and "__" not in n for n in names)
        if not good or len(set(names)) < len(names):
            raise place.refuse(
                f"{names!r:.100} are not different names of letters, digits, - and _ each."
            )

    @staticmethod
    def _nothing(step: Any) -> str | None:
        if step is None:
            return "passthrough"
        return step if isinstance(step, str) and step in ("passthrough", "drop") else None

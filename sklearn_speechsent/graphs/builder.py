"""Builder of ONNX graphs, whose values have the operators of arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from typing import Any

import numpy as np
import onnx
from numpy.typing import DTypeLike, NDArray
from onnx import helper, numpy_helper

from sklearn_speechsent._version import __version__

#: Operator set: the first with ScatterElements(reduction="max") and axes of reductions as inputs.
OPSET = 18
#: Version of the file format that belongs to it.
_IR_VERSION = 8
#: Nodes whose result has another type than their first input.
_TYPES: dict[str, type] = {
    **dict.fromkeys(("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal"), np.bool_),
    **dict.fromkeys(("Shape", "ArgMax", "NonZero"), np.int64),
}


class Value:
    """Result of a node, or an input, an initializer.

    Parameters
    ----------
    graph : Graph
    name : str
    dtype : dtype
    """

    def __init__(self, graph: Graph, name: str, dtype: DTypeLike) -> None:
        self.graph = graph
        self.name = name
        self.dtype = np.dtype(dtype)

    def _with(self, op: str, other: Any, *, swapped: bool = False) -> Value:
        other = other if isinstance(other, Value) else self.graph.constant(other, self.dtype)
        return self.graph.apply(op, *((other, self) if swapped else (self, other)))

    def __add__(self, other: Any) -> Value:
        return self._with("Add", other)

    def __sub__(self, other: Any) -> Value:
        return self._with("Sub", other)

    def __rsub__(self, other: Any) -> Value:
        return self._with("Sub", other, swapped=True)

    def __mul__(self, other: Any) -> Value:
        return self._with("Mul", other)

    def __truediv__(self, other: Any) -> Value:
        return self._with("Div", other)

    def __floordiv__(self, other: Any) -> Value:
        """Quotient of whole numbers that are not negative."""
        return self._with("Div", other)

    def __neg__(self) -> Value:
        return self.graph.apply("Neg", self)

    def __matmul__(self, other: Any) -> Value:
        return self._with("MatMul", other)

    def __lt__(self, other: Any) -> Value:
        return self._with("Less", other)

    def __le__(self, other: Any) -> Value:
        return self._with("LessOrEqual", other)

    def __gt__(self, other: Any) -> Value:
        return self._with("Greater", other)

    def __ge__(self, other: Any) -> Value:
        return self._with("GreaterOrEqual", other)

    def __and__(self, other: Value) -> Value:
        return self._with("And", other)

    def __or__(self, other: Value) -> Value:
        return self._with("Or", other)

    def __invert__(self) -> Value:
        return self.graph.apply("Not", self)

    def cast(self, dtype: DTypeLike) -> Value:
        """Convert to another type."""
        if self.dtype == np.dtype(dtype):
            return self
        return self.graph.apply("Cast", self, dtype=dtype, to=_element_type(dtype))

    def reshape(self, *shape: int) -> Value:
        """Give another shape; 0 keeps a size, and -1 takes what is left."""
        return self.graph.apply("Reshape", self, list(shape))

    def transpose(self, *order: int) -> Value:
        """Reorder the axes."""
        return self.graph.apply("Transpose", self, perm=list(order))

    def size(self, axis: int = 0) -> Value:
        """Size of an axis, shape (1,), int64."""
        return self.graph.apply("Shape", self, start=axis, end=axis + 1)

    def part(self, start: Any, stop: Any, *, axis: int = 0, step: Any = 1) -> Value:
        """Slice of an axis, with bounds that are numbers or values of shape (1,)."""
        bounds = [b if isinstance(b, Value) else [b] for b in (start, stop, axis, step)]
        return self.graph.apply("Slice", self, *bounds)

    def take(self, indices: Any, axis: int = 0) -> Value:
        """Entries by their indices along an axis."""
        return self.graph.apply("Gather", self, indices, axis=axis)

    def reduce(self, how: str, *axes: int, keep: bool = True) -> Value:
        """Reduce axes by ``"Mean"``, ``"Sum"``, ``"Max"``, ``"Min"`` or ``"LogSumExp"``."""
        return self.graph.apply(f"Reduce{how}", self, list(axes), keepdims=int(keep))


class Graph:
    """Nodes and initializers of a graph that grows.

    A name in capitals is an operator: ``graph.Relu(x)``. Lists of whole numbers, arrays and tensors
    of torch among its inputs become initializers, each content once.

    Examples
    --------
    >>> from sklearn_speechsent.graphs.builder import Graph
    >>> graph = Graph()
    >>> x = graph.input("x", "float32", ["n"])
    >>> model = graph.model({"y": graph.Relu(x * 2.0 + 1.0)})
    >>> [node.op_type for node in model.graph.node]
    ['Mul', 'Add', 'Relu', 'Identity']
    """

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._initializers: dict[tuple[str, tuple[int, ...], bytes], onnx.TensorProto] = {}
        self._n = 0

    def _name(self, stem: str) -> str:
        self._n += 1
        return f"{stem}_{self._n}"

    def __getattr__(self, op: str) -> Callable[..., Any]:
        if not op[0].isupper():
            raise AttributeError(op)
        return partial(self.apply, op)

    def input(self, name: str, dtype: DTypeLike, shape: Sequence[int | str]) -> Value:
        """Declare an input of the graph.

        Parameters
        ----------
        name : str
        dtype : dtype
        shape : sequence of int or str
            Sizes; names stand for sizes that vary.

        Returns
        -------
        Value
        """
        info = helper.make_tensor_value_info(name, _element_type(dtype), shape)
        self._inputs.append(info)
        return Value(self, name, dtype)

    def constant(self, content: Any, dtype: DTypeLike | None = None) -> Value:
        """Initializer.

        Parameters
        ----------
        content : array-like or Tensor
        dtype : dtype, optional

        Returns
        -------
        Value
        """
        content = as_float(content) if hasattr(content, "detach") else content
        array = np.array(content, dtype, order="C")
        key = (array.dtype.str, array.shape, sha256(array.tobytes()).digest())
        if key not in self._initializers:
            self._initializers[key] = numpy_helper.from_array(array, self._name("constant"))
        return Value(self, self._initializers[key].name, array.dtype)

    def apply(
        self,
        op: str,
        *inputs: Any,
        dtype: DTypeLike | None = None,
        name: str = "",
        **attributes: Any,
    ) -> Value:
        """Add a node of one result.

        Parameters
        ----------
        op : str
            Operator.
        *inputs : Value, array-like or None
            None leaves an optional input out.
        dtype : dtype, optional
            Of the result, where it is not that of the first input.
        name : str, optional
            Of the node, which errors name.
        **attributes : object
            Of the node.

        Returns
        -------
        Value
        """
        values = [v if isinstance(v, Value) or v is None else self.constant(v) for v in inputs]
        place = 1 if op == "Where" else 0
        dtype = dtype or _TYPES.get(op) or values[place].dtype  # type: ignore[union-attr]
        result = self._name(op)
        names = ["" if value is None else value.name for value in values]
        self._nodes.append(helper.make_node(op, names, [result], name or result, **attributes))
        return Value(self, result, dtype)

    def largest(self, x: Value, k: int) -> Value:
        """Give the k largest values along the last axis, in descending order."""
        result, places = self._name("TopK"), self._name("TopK")
        count = self.constant([k])
        self._nodes.append(helper.make_node("TopK", [x.name, count.name], [result, places], result))
        return Value(self, result, x.dtype)

    def arange(self, n: Value) -> Value:
        """Whole numbers below n, which has the shape (1,)."""
        return self.Range(np.int64(0), self.Squeeze(n), np.int64(1))

    def require(self, condition: Value, name: str) -> Value:
        """Zero, shape (1,), int64, or an error that shows a name where a condition is false.

        Parameters
        ----------
        condition : Value of shape (1,)
        name : str
            What the error says.

        Returns
        -------
        Value
            The node runs only if something depends on this.
        """
        return self.Gather([0], (~condition).cast(np.int64), name=self._name(name))

    # -- control flow --------------------------------------------------------------------------

    @contextmanager
    def _aside(self) -> Any:
        """Collect nodes apart from those of the graph."""
        outer, self._nodes = self._nodes, []
        try:
            yield self._nodes
        finally:
            self._nodes = outer

    def _body(
        self, inputs: list[onnx.ValueInfoProto], make: Callable[[], Iterable[Value]]
    ) -> tuple[onnx.GraphProto, list[np.dtype]]:
        with self._aside() as nodes:
            # The results of a body must be made in it.
            results = [self.Identity(value) for value in make()]
        outputs = [
            helper.make_tensor_value_info(value.name, _element_type(value.dtype), None)
            for value in results
        ]
        graph = helper.make_graph(nodes, self._name("body"), inputs, outputs)
        return graph, [value.dtype for value in results]

    def either(
        self,
        condition: Value,
        then: Callable[[], Iterable[Value]],
        otherwise: Callable[[], Iterable[Value]],
    ) -> list[Value]:
        """Compute one of two things.

        Parameters
        ----------
        condition : Value of shape (1,)
        then, otherwise : callable
            Give equally many values.

        Returns
        -------
        list of Value
        """
        branch, dtypes = self._body([], then)
        other, _ = self._body([], otherwise)
        results = [self._name("If") for _ in dtypes]
        inputs = [self.Squeeze(condition).name]
        node = helper.make_node(
            "If", inputs, results, results[0], then_branch=branch, else_branch=other
        )
        self._nodes.append(node)
        return [Value(self, name, dtype) for name, dtype in zip(results, dtypes, strict=True)]

    def loop(
        self, n: Value, body: Callable[..., Iterable[Value]], states: Sequence[Value]
    ) -> list[Value]:
        """Compute something n times.

        Parameters
        ----------
        n : Value of shape (1,)
        body : callable
            Takes the number of the round, shape (), and the states, and gives the new ones.
        states : sequence of Value
            At first. Their shapes may change.

        Returns
        -------
        list of Value
            States at the end.
        """
        names = [self._name(stem) for stem in ("round", "condition", *["state"] * len(states))]
        types = [np.int64, np.bool_, *(state.dtype for state in states)]
        scalar: list[Any] = [[], [], *[None] * len(states)]
        inputs = [
            helper.make_tensor_value_info(name, _element_type(dtype), shape)
            for name, dtype, shape in zip(names, types, scalar, strict=True)
        ]
        number, condition, *given = map(partial(Value, self), names, types)
        graph, dtypes = self._body(inputs, lambda: [condition, *body(number, *given)])
        results = [self._name("Loop") for _ in states]
        self._nodes.append(
            helper.make_node(
                "Loop",
                [self.Squeeze(n).name, "", *(state.name for state in states)],
                results,
                results[0],
                body=graph,
            )
        )
        return [Value(self, name, dtype) for name, dtype in zip(results, dtypes[1:], strict=True)]

    # -- model ---------------------------------------------------------------------------------

    def model(
        self,
        outputs: dict[str, Value],
        sizes: dict[str, int] | None = None,
        metadata: dict[str, str] | None = None,
    ) -> onnx.ModelProto:
        """Complete model, which is checked.

        Parameters
        ----------
        outputs : dict of str to Value
            Of one axis each.
        sizes : dict of str to int, optional
            Of outputs of a fixed size.
        metadata : dict of str to str, optional

        Returns
        -------
        onnx.ModelProto
        """
        infos = []
        for name, value in outputs.items():
            self._nodes.append(helper.make_node("Identity", [value.name], [name], name))
            size = (sizes or {}).get(name, f"n_{name}")
            infos.append(helper.make_tensor_value_info(name, _element_type(value.dtype), [size]))
        graph = helper.make_graph(
            self._nodes, "sentiment", self._inputs, infos, [*self._initializers.values()]
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=_IR_VERSION,
            producer_name="sklearn_speechsent",
            producer_version=__version__,
        )
        helper.set_model_props(model, metadata or {})
        onnx.checker.check_model(model, full_check=True)
        return model


def _element_type(dtype: DTypeLike) -> int:
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def as_float(array: Any) -> NDArray[np.float32]:
    """Array of a tensor or of numbers, float32."""
    if hasattr(array, "detach"):
        array = array.detach().cpu().float().numpy()
    return np.asarray(array, np.float32)

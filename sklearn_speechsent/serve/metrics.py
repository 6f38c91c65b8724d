"""Counters of a service, in the text that Prometheus reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

#: Upper bounds of the classes of durations, in seconds.
_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_PREFIX = "speechsent"

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters by name and labels, and durations of requests.

    Examples
    --------
    >>> metrics = Metrics()
    >>> metrics.count("errors_total", code="busy")
    >>> print(metrics.text({"streams": 3}))
    # TYPE speechsent_errors_total counter
    speechsent_errors_total{code="busy"} 1
    # TYPE speechsent_streams gauge
    speechsent_streams 3
    """

    def __init__(self) -> None:
        self._counters: dict[str, Counter[Labels]] = {}
        self._seconds: dict[str, list[float]] = {}

    def count(self, name: str, n: float = 1, **labels: str) -> None:
        """Add to a counter.

        Parameters
        ----------
        name : str
        n : float, default=1
        **labels
            Of few values: each combination has a counter of its own.
        """
        counter = self._counters.setdefault(name, Counter())
        counter[tuple(labels.items())] += n  # type: ignore[assignment]

    def took(self, path: str, seconds: float) -> None:
        """Add a request to the durations.

        Parameters
        ----------
        path : str
        seconds : float
        """
        counts = self._seconds.setdefault(path, [0.0] * (len(_BOUNDS) + 2))
        for k, bound in enumerate(_BOUNDS):
            counts[k] += seconds <= bound
        counts[-2] += 1
        counts[-1] += seconds

    def text(self, gauges: Mapping[str, float]) -> str:
        """All counters, and what is measured at this moment.

        Parameters
        ----------
        gauges : mapping of str to float

        Returns
        -------
        str
        """
        lines: list[str] = []
        for name, counter in sorted(self._counters.items()):
            lines.append(f"# TYPE {_PREFIX}_{name} counter")
            lines += [_line(name, labels, n) for labels, n in sorted(counter.items())]
        if self._seconds:
            lines += [f"# TYPE {_PREFIX}_request_seconds histogram", *self._histograms()]
        for name, value in gauges.items():
            lines += [f"# TYPE {_PREFIX}_{name} gauge", _line(name, (), value)]
        return "\n".join(lines)

    def _histograms(self) -> Iterable[str]:
        name = "request_seconds"
        bounds = [*(f"{bound:g}" for bound in _BOUNDS), "+Inf"]
        for path, (*counts, total) in sorted(self._seconds.items()):
            for bound, n in zip(bounds, counts, strict=True):
                yield _line(f"{name}_bucket", (("path", path), ("le", bound)), n)
            yield _line(f"{name}_sum", (("path", path),), total)
            yield _line(f"{name}_count", (("path", path),), counts[-1])


def _line(name: str, labels: Labels, value: float) -> str:
    inside = ",".join(f'{label}="{text}"' for label, text in labels)
    return f"{_PREFIX}_{name}{'{' + inside + '}' if inside else ''} {value:.10g}"

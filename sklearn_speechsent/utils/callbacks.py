"""Support of scikit-learn's callbacks (progress bars, monitors), where the release has them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stand-in without any support."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """Return the method unchanged."""
        return method


def reports_fit(subtasks: str | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a method that fits, so that callbacks see it begin and end.

    A search or a Pipeline passes its callbacks to estimators that report, and warns about those
    that do not.

    Parameters
    ----------
    subtasks : str, optional
        Parameter that holds the number of steps the method reports itself, such as
        ``"max_epochs"``; None for none.

    Returns
    -------
    callable
    """

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def reported(estimator: Any, X: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
            start = getattr(estimator, "_init_callback_context", None)
            if start is None or hasattr(estimator, "_callback_fit_ctx"):
                return method(estimator, X, y, *args, **kwargs)
            n_subtasks = getattr(estimator, subtasks) if subtasks else 0
            context = start(max_subtasks=n_subtasks)
            context.call_on_fit_task_begin(estimator=estimator, X=X, y=y)
            result = method(estimator, X, y, *args, **kwargs)
            context.call_on_fit_task_end(
                estimator=estimator, X=X, y=y, reconstruction_attributes={}
            )
            return result

        return with_callbacks(reported)

    return decorate

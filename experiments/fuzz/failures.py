"""Table of the failures of mutants."""

from collections import Counter
from typing import Any

from experiments._harness.tables import table_of


def failures_of(results: list[dict[str, Any]]) -> list[str]:
    """Each failure, how many mutants have it, and the numbers of the first five, in Markdown.

    Parameters
    ----------
    results : list of dict

    Returns
    -------
    list of str
    """
    failures = Counter(result["failure"] for result in results if "failure" in result)
    rows = []
    for failure, n in failures.most_common():
        numbers = [str(r["number"]) for r in results if r.get("failure") == failure]
        rows.append([failure, str(n), ", ".join(numbers[:5])])
    return table_of(["failure", "mutants", "numbers"], rows)

"""Mutated recordings and tables: what comes of them, and what must never come of them.

    python -m experiments.fuzz --n 2000 --seed 0 --out results/fuzz.json

Recordings of the data home (synthetic ones if there is none) are written in every format that can
be written and read, and mutated: fields of the header, sizes, bits, chunks, lengths. At least half
of the mutants keep the bytes by which their format is recognised. Each is read between two good
recordings, by check_recordings and by MelFilterBank under either on_error. For every four of them a
table is mutated, too: a manifest, a table of segments, or a list as X. All of it runs in processes
with bounded memory and time. A crash, a hang, memory beyond the bound, a row too many or too few,
other frames of a good row, an error of another kind or one that names no row is a failure.

Prints and writes the outcomes. The mutants that failed are written to FILE.failures; --only checks
them again. Ends with status 1 if there is a failure.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from experiments._harness.command import make_parser
from experiments._harness.tables import save, table_of
from experiments.fuzz.child import TABLES, mutants
from experiments.fuzz.children import check_in_children
from experiments.fuzz.failures import failures_of

#: Outcomes that the report lists; the others are counted, and FILE.json has all.
_SHOWN = 40


def report_of(results: list[dict[str, Any]]) -> list[str]:
    """Tables of the outcomes, in Markdown.

    Parameters
    ----------
    results : list of dict

    Returns
    -------
    list of str
    """
    lines = []
    columns = ["format", "mutants", "recognised", "same frames", "other", "error", "failure"]
    rows = []
    for name in sorted({result["format"] for result in results}):
        of_format = [result for result in results if result["format"] == name]
        counts = Counter(_column(result) for result in of_format)
        magic = sum(result.get("magic", False) for result in of_format)
        rows.append([name, str(len(of_format)), str(magic), *(str(counts[c]) for c in columns[3:])])
    totals = np.array([[int(cell) for cell in row[1:]] for row in rows]).sum(axis=0)
    rows.append(["all", *map(str, totals)])
    lines += table_of(columns, rows)
    outcomes = Counter(result["outcome"] for result in results if "outcome" in result).most_common()
    rows = [[outcome, str(n)] for outcome, n in outcomes[:_SHOWN]]
    if rest := outcomes[_SHOWN:]:
        rows.append([f"{len(rest)} others", str(sum(n for _, n in rest))])
    lines += table_of(["outcome", "mutants"], rows)
    return lines + failures_of(results)


def _column(result: dict[str, Any]) -> str:
    if "failure" in result:
        return "failure"
    outcome = str(result["outcome"]).partition(":")[0]
    return outcome if outcome in ("same frames", "error") else "other"


def main(arguments: list[str] | None = None) -> int:
    """Check mutants, print, write; return 1 if one failed."""
    parser = make_parser(__doc__)
    parser.add_argument("--n", type=int, default=2000, help="mutated recordings (2000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, nargs="+", help="numbers of mutants, instead of --n")
    parser.add_argument("--jobs", type=int, default=1, help="processes (1)")
    parser.add_argument("--memory", type=int, default=512, help="MiB that a process may take (512)")
    parser.add_argument("--seconds", type=float, default=10.0, help="limit for each mutant (10)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "experiments.fuzz.child", folder]
        command += [str(value) for value in (options.seed, options.memory, options.seconds)]
        numbers = options.only or range(options.n * TABLES // (TABLES - 1))
        results = check_in_children(command, numbers, options.jobs)
        failed = [result for result in results if "failure" in result]
        make, failures = mutants(options.seed, Path(folder)), options.out.with_suffix(".failures")
        failures.mkdir(parents=True, exist_ok=True)
        for result in failed:
            mutant = make(result["number"])
            result |= mutant.report
            name = f"{result['number']}{mutant.suffix}"
            (failures / name).write_bytes(mutant.content)
    save(options.out, {"seed": options.seed, "results": results}, report_of(results))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

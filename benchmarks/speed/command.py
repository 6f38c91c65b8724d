"""Time of the command next to the same call in Python, each in a fresh process.

    python -m benchmarks.speed.command --out results/speed_command.json

One recording of RAVDESS is scored with the ready model, in turns: by ``speechsent predict``, by
``load_model(...).predict`` in a script, and by ``speechsent --help``, which scores nothing. Writes
FILE.json and FILE.md.
"""

import statistics
import subprocess
import sys
import time

from experiments._harness.command import make_parser
from experiments._harness.tables import save, table_of

_SCRIPT = "import sys; from sklearn_speechsent import load_model; "
_SCRIPT += "print(load_model('valence-acted').predict(sys.argv[1:]))"


def main():
    """Measure, print and write."""
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()

    from sklearn_speechsent.datasets import load_ravdess

    file = load_ravdess().data[0]
    command = [sys.executable, "-m", "sklearn_speechsent.cli"]
    calls = {
        "the same in Python": [sys.executable, "-c", _SCRIPT, file],
        "speechsent predict": [*command, "predict", file],
        "speechsent --help": [*command, "--help"],
    }
    seconds = {name: [] for name in calls}
    for _ in range(args.rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            subprocess.run(call, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - started)
    base = statistics.median(seconds["the same in Python"])
    rows = [
        [name, f"{statistics.median(found):.2f} s", f"{statistics.median(found) / base:.2f}"]
        for name, found in seconds.items()
    ]
    save(args.out, seconds, table_of(["", "median", "ratio"], rows))


if __name__ == "__main__":
    main()

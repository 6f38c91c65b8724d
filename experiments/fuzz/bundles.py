"""Mutated bundles: each loads as an equal model or is refused, and nothing runs or is written.

    python -m experiments.fuzz.bundles --n 5000 --seed 0 --out results/fuzz_bundles.json

Two small models are saved, one of a table and one of recordings, and their bundles mutated: values,
keys and text of JSON, header and numbers of the tensors, bytes and fields of the zip file. Where a
file inside is mutated, most mutants state its new checksum, so that what is behind the checksums is
reached. All of it runs in processes with bounded memory and time. A crash, a hang, memory beyond
the bound, an error of another kind, a file that was opened to write, a program or text of Python
that ran, or a model whose predictions for rows of its own differ by more than its tolerance allows
is a failure.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tempfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from experiments._harness.command import make_parser
from experiments._harness.tables import save, table_of
from experiments.fuzz.children import check_in_children, serve
from experiments.fuzz.failures import failures_of
from experiments.fuzz.mutant import Failed, Mutant, guarded, kind_of
from sklearn_speechsent import OrdinalClassifier, load_model, make_sentiment_pipeline, save_model
from sklearn_speechsent.datasets import make_speech_sentiment

_PIPELINE, _ARRAYS, _MANIFEST = "pipeline.json", "arrays.safetensors", "manifest.json"
#: One mutant in this many is of the bundle from recordings, which takes longer.
_RECORDINGS = 4
#: One mutant in this many keeps the checksums of what it changed.
_UNSEALED = 10
#: Probabilities of a model that loads may differ by this much: its own tolerance is that of eight
#: other rows.
_TOLERANCE = 0.05
_VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        3,
        1e-300,
        1e300,
        -0.5,
        2**31,
        2**63,
        10**40,
        "",
        "x",
        [],
        {},
    ),
    *("float16", "int64", "passthrough", "drop", "Pipeline", "SVC", "eval", "os.system", "../x"),
    *([0], [[1]], {"tuple": []}, {"dict": {}}, {"class": "SVC", "params": {}, "state": None}),
)
#: Events of the interpreter that no bundle may cause.
_FORBIDDEN = ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "pickle.find_class")


class Watch:
    """Files that are opened to write, and programs and text that run, while it is on."""

    def __init__(self) -> None:
        self.on = False
        self.found: list[str] = []
        sys.addaudithook(self._audit)

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        writes = event == "open" and isinstance(args[1], str) and bool(set(args[1]) & set("wax+"))
        runs = event == "exec" and args[0].co_filename == "<string>"
        if writes or runs or event in _FORBIDDEN or event in ("os.remove", "os.mkdir", "os.rename"):
            self.found.append(f"{event} {str(args[0])[:60]}")


class BundleChecks:
    """Checks of mutated bundles, by number.

    Parameters
    ----------
    seed : int
    folder : Path
        For their files.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.folder = folder
        rng = np.random.default_rng(seed)
        y = rng.integers(-1, 2, 30)
        table = (y[:, None] + rng.normal(size=(30, 5))).astype(np.float32)
        speech = make_speech_sentiment(2, 3, levels=(-1, 0, 1), out_dir=folder, random_state=0)
        pipeline = make_sentiment_pipeline(weights=None, vad="passthrough", mfb__n_mels=20)
        rows = speech.data[:3]
        models = [
            (OrdinalClassifier(n_components=3).fit(table, y), table),
            (pipeline.fit(speech.data, speech.target), rows),
        ]
        self.sources = []
        for number, (model, X) in enumerate(models):
            path = save_model(model, folder / f"{number}.zip")
            with zipfile.ZipFile(path) as archive:
                contents = {name: archive.read(name) for name in archive.namelist()}
            self.sources.append((contents, X, model.predict_proba(X)))
        self.watch = Watch()

    def make(self, number: int) -> Mutant:
        """Mutant of a number.

        Parameters
        ----------
        number : int

        Returns
        -------
        Mutant
        """
        rng = np.random.default_rng([self.seed, number])
        contents, X, expected = self.sources[number % _RECORDINGS == 0]
        contents = dict(contents)
        kind = str(rng.choice(["json", "json", "text", "header", "numbers", "manifest", "zip"]))
        change: dict[str, Callable[..., list[str]]] = {
            "json": _mutate_json,
            "text": _mutate_text,
            "header": _mutate_header,
            "numbers": _mutate_numbers,
            "manifest": _mutate_manifest,
        }
        mutations = [kind] if kind == "zip" else change[kind](contents, rng)
        if kind != "manifest" and rng.integers(_UNSEALED):
            _seal(contents)
        content = _zipped(contents)
        if kind == "zip":
            content = _mutate_bytes(content, rng, range(len(content)))
        path = self.folder / "mutant.zip"

        def check() -> str:
            path.write_bytes(content)
            return self._outcome(path, X, expected)

        return Mutant({"format": kind, "mutations": mutations}, ".zip", content, check)

    def _outcome(self, path: Path, X: Any, expected: Any) -> str:
        self.watch.found.clear()
        self.watch.on = True
        try:
            found = guarded(lambda: load_model(path), ValueError)
        finally:
            self.watch.on = False
        if self.watch.found:
            raise Failed(f"it caused {self.watch.found[0]}")
        if isinstance(found, Exception):
            if type(found).__name__ != "BundleError":
                raise Failed(f"{type(found).__name__}: {kind_of(str(found))}")
            return f"error: {kind_of(str(found))}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            proba = found.predict_proba(X)
        if proba.shape != expected.shape or not np.abs(proba - expected).max() <= _TOLERANCE:
            raise Failed("it loads and predicts something else")
        return "loaded: the same" if np.array_equal(proba, expected) else "loaded: nearly the same"


# -- mutations -------------------------------------------------------------------------------------


def _places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values in JSON."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, item in items:
        found.append((*above, key))
        if isinstance(item, (dict, list)):
            found += _places(item, (*above, key))
    return found


def _mutate_json(contents: dict[str, bytes], rng: np.random.Generator) -> list[str]:
    """Set, drop, copy or rename values of the tree."""
    tree = json.loads(contents[_PIPELINE])
    mutations = []
    for _ in range(int(rng.integers(1, 3))):
        mutations.append(_mutate_value(tree, rng))
    contents[_PIPELINE] = json.dumps(tree).encode()
    return mutations


def _mutate_value(tree: Any, rng: np.random.Generator) -> str:
    places = _places(tree)
    *above, key = places[rng.integers(len(places))]
    holder = tree
    for part in above:
        holder = holder[part]
    how = str(rng.choice(["value", "value", "drop", "copy", "key"]))
    if how == "value":
        value = _VALUES[rng.integers(len(_VALUES))]
        if isinstance(holder[key], (int, float)) and rng.random() < 0.5:
            value = holder[key] * float(rng.choice([-1, 0.5, 2, 1e6])) + int(rng.integers(3))
        holder[key] = value
    elif how == "drop":
        del holder[key]
    elif how == "copy":
        *there, other = places[rng.integers(len(places))]
        source = tree
        try:
            for part in (*there, other):
                source = source[part]
        except (KeyError, IndexError, TypeError):
            source = None
        holder[key] = json.loads(json.dumps(source))
    elif isinstance(holder, dict):
        holder[str(rng.choice(["__class__", "evil", "memory", "params", "_shared_"]))] = holder[key]
    return f"{how} {'.'.join(map(str, (*above, key)))}"


def _mutate_text(contents: dict[str, bytes], rng: np.random.Generator) -> list[str]:
    name = str(rng.choice([_PIPELINE, _MANIFEST, "README.md"]))
    contents[name] = _mutate_bytes(contents[name], rng, range(len(contents[name])))
    return [f"bytes of {name}"]


def _mutate_header(contents: dict[str, bytes], rng: np.random.Generator) -> list[str]:
    """Bytes or values of the header of the tensors."""
    content = contents[_ARRAYS]
    size = int.from_bytes(content[:8], "little")
    if rng.random() < 0.5:
        contents[_ARRAYS] = _mutate_bytes(content, rng, range(8 + size))
        return ["bytes of the header"]
    header = json.loads(content[8 : 8 + size])
    mutation = _mutate_value(header, rng)
    text = json.dumps(header).encode()
    contents[_ARRAYS] = len(text).to_bytes(8, "little") + text + content[8 + size :]
    return [mutation]


def _mutate_numbers(contents: dict[str, bytes], rng: np.random.Generator) -> list[str]:
    content = contents[_ARRAYS]
    start = 8 + int.from_bytes(content[:8], "little")
    contents[_ARRAYS] = _mutate_bytes(content, rng, range(start, len(content)), resize=False)
    return ["numbers"]


def _mutate_manifest(contents: dict[str, bytes], rng: np.random.Generator) -> list[str]:
    manifest = json.loads(contents[_MANIFEST])
    mutation = _mutate_value(manifest, rng)
    contents[_MANIFEST] = json.dumps(manifest).encode()
    return [mutation]


def _mutate_bytes(
    content: bytes, rng: np.random.Generator, where: range, resize: bool = True
) -> bytes:
    """Flip, set, remove or repeat bytes."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        place = int(where[rng.integers(len(where))])
        how = str(rng.choice(["flip", "set", "number", *(["remove", "repeat", "cut"] * resize)]))
        if place >= len(changed):
            continue
        if how == "flip":
            changed[place] ^= 1 << int(rng.integers(8))
        elif how == "set":
            changed[place] = int(rng.choice([0, 0x22, 0x2D, 0x30, 0x39, 0x7F, 0x80, 0xFF]))
        elif how == "number":
            changed[place : place + 4] = int(rng.choice([0, 1, 2**31, 2**32 - 1])).to_bytes(
                4, "little"
            )[: len(changed) - place]
        elif how == "remove":
            del changed[place : place + int(rng.integers(1, 20))]
        elif how == "repeat":
            changed[place:place] = changed[place : place + int(rng.integers(1, 40))]
        elif rng.random() < 0.2:
            del changed[place:]
    return bytes(changed)


def _seal(contents: dict[str, bytes]) -> None:
    """Let the manifest state the checksums of the files as they are, if it can still be read."""
    try:
        manifest = json.loads(contents[_MANIFEST])
        for name in manifest["files"]:
            digest = hashlib.sha256(contents[name]).hexdigest()
            manifest["files"][name] = {"sha256": digest, "size": len(contents[name])}
    except (ValueError, KeyError, TypeError):
        return
    contents[_MANIFEST] = json.dumps(manifest).encode()


def _zipped(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


# -- command ---------------------------------------------------------------------------------------


def report_of(results: list[dict[str, Any]]) -> list[str]:
    """Tables of the outcomes, in Markdown.

    Parameters
    ----------
    results : list of dict

    Returns
    -------
    list of str
    """
    columns = ["what was mutated", "mutants", "refused", "the same", "nearly the same", "failure"]
    rows = []
    for name in [*sorted({result["format"] for result in results}), None]:
        chosen = [result for result in results if name in (None, result["format"])]
        counts = Counter(result.get("outcome", "failure").partition(":")[0] for result in chosen)
        same = sum(result.get("outcome") == "loaded: the same" for result in chosen)
        numbers = (len(chosen), counts["error"], same, counts["loaded"] - same, counts["failure"])
        rows.append([name or "all", *map(str, numbers)])
    lines = table_of(columns, rows)
    return lines + failures_of(results)


def main(arguments: list[str] | None = None) -> int:
    """Check mutants, print, write; return 1 if one failed."""
    parser = make_parser(__doc__)
    parser.add_argument("--n", type=int, default=5000, help="mutated bundles (5000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, nargs="+", help="numbers of mutants, instead of --n")
    parser.add_argument("--memory", type=int, default=512, help="MiB that a process may take (512)")
    parser.add_argument("--seconds", type=float, default=20.0, help="limit for each mutant (20)")
    parser.add_argument("--child", metavar="FOLDER", help="be a process that checks mutants")
    options = parser.parse_args(arguments)
    if options.child:
        checks = BundleChecks(options.seed, Path(tempfile.mkdtemp(dir=options.child)))
        serve(lambda n: checks.make(n).checked(), options.memory * 2**20, options.seconds)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "experiments.fuzz.bundles", "--child", folder]
        command += ["--out", str(options.out)]
        for name in ("seed", "memory", "seconds"):
            command += [f"--{name}", str(getattr(options, name))]
        results = check_in_children(command, options.only or range(options.n))
    for result in results:  # of a process that died nothing else is known
        result.setdefault("format", "unknown")
    save(options.out, {"seed": options.seed, "results": results}, report_of(results))
    return 1 if any("failure" in result for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())

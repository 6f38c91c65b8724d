"""Bundles: fitted models as JSON, arrays and a card, which load without running code of theirs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from sklearn.utils.validation import check_is_fitted

from sklearn_speechsent._version import __version__
from sklearn_speechsent.deploy.errors import BundleError
from sklearn_speechsent.deploy.examples import (
    N_EXAMPLES,
    ROUGH_TOLERANCE,
    SEED,
    TOLERANCE,
    check_outputs,
    example_outputs,
    sample_rate,
)
from sklearn_speechsent.deploy.files import (
    ARRAYS,
    CARD,
    MANIFEST,
    PIPELINE,
    check_card,
    read_files,
    read_json,
    write_files,
    write_json,
)
from sklearn_speechsent.deploy.licences import strictest
from sklearn_speechsent.deploy.ready import find_ready
from sklearn_speechsent.deploy.tree import Reader, Writer
from sklearn_speechsent.deploy.values import Arrays, Place
from sklearn_speechsent.utils.versions import installed_versions

#: Version of the format: raised when what was written before can no longer be read.
FORMAT = 1
#: The only metadata of the tensors: safetensors writes several in random order.
_METADATA = {"format": f"sklearn_speechsent bundle {FORMAT}"}
_PACKAGES = ("numpy", "safetensors", "scikit-learn", "scipy", "skorch", "soxr", "torch")
_FIELDS = {
    *("format", "versions", "files", "predicts", "levels", "sample_rate", "licence", "weights"),
    *("corpus", "measures", "examples"),
}
_LARGEST_HEADER = 2**23


def save_model(
    model: Any,
    path: str | os.PathLike[str],
    *,
    card: Any = None,
    weights: str = "embed",
    dtype: str | None = None,
    corpus: str | None = None,
    licence: str | None = None,
    measures: Mapping[str, Any] | None = None,
) -> Path:
    """Save a fitted model so that loading it runs no code of the file.

    A bundle is a folder, or one zip file, of ``pipeline.json`` (classes of a closed list, their
    parameters and what they learned), ``arrays.safetensors`` (all numbers), ``manifest.json``
    (versions, checksums, levels, licences, and outputs for eight generated inputs, which
    :func:`load_model` computes again) and ``README.md`` (the card). It is written completely or not
    at all, and equal models are equal bytes.

    Parameters
    ----------
    model : estimator
        Fitted: a Pipeline of :func:`~sklearn_speechsent.make_sentiment_pipeline`, one of your own
        of the same steps and of scikit-learn's scalers, PCA, linear models and support vector
        machines, a :class:`~sklearn_speechsent.WaveformPerturbation`,
        :class:`~sklearn_speechsent.inspection.OrdinalCalibrator` or
        :class:`~sklearn_speechsent.inspection.ConformalOrdinal` around it, or its last step alone.
        Of a search, pass ``best_estimator_``.
    path : str or path-like
        With the suffix ``.zip`` a zip file, else a folder. A bundle that is there is replaced.
    card : object, optional
        Its text, ``str(card)``, is the ``README.md``, in Markdown without HTML. By default a few
        lines that say what is inside.
    weights : {"embed", "reference"}, default="embed"
        Whether weights of the registry are inside, or named with their checksum and read from the
        data home when the model is loaded. Those that are in no registry are always inside.
    dtype : {None, "float16"}, default=None
        None loses nothing: a loaded model predicts the same. With ``"float16"`` matrices (weights
        of networks, rows that support thresholds, components) are rounded to half precision.
    corpus, licence : str, optional
        What the model was fitted on, and the licence of that.
    measures : mapping, optional
        What was measured, of numbers and texts.

    Returns
    -------
    pathlib.Path
        Absolute path of the bundle.

    Raises
    ------
    BundleError
        A ValueError, if the model holds what a bundle cannot: the message names the step, the
        reason and the remedy.
    NotFittedError
        If the model is not fitted.
    FileExistsError
        If there is a folder of other files at ``path``.

    Warns
    -----
    UserWarning
        If parameters that matter in training only, such as callbacks and folds, are left out.

    See Also
    --------
    load_model : Load it.

    Notes
    -----
    Settings of a machine (``n_jobs``, ``memory``, ``device``, ``verbose``, ``resume``), requests of
    metadata routing and containers of ``set_output`` are not saved. Paths of weights are not
    either: to fit a loaded model again, set ``weights=``. Support vector machines of your own are
    saved as sums of kernels, which equal libsvm to 1e-12.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn_speechsent import load_model, make_sentiment_pipeline, save_model
    >>> from sklearn_speechsent.datasets import make_speech_sentiment
    >>> corpus = make_speech_sentiment(2, 2, levels=(-1, 1), random_state=0)
    >>> pipeline = make_sentiment_pipeline(weights=None).fit(corpus.data, corpus.target)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save_model(pipeline, f"{folder}/valence.zip", licence="CC BY 4.0")
    ...     again = load_model(path)
    >>> (again.predict_proba(corpus.data) == pipeline.predict_proba(corpus.data)).all()
    np.True_
    """
    if weights not in ("embed", "reference"):
        raise ValueError(f"weights={weights!r} must be 'embed' or 'reference'.")
    if dtype not in (None, "float16"):
        raise ValueError(f"dtype={dtype!r} must be None or 'float16'.")
    check_is_fitted(model)
    writer = Writer(Arrays(half=dtype == "float16"), reference=weights == "reference")
    tree = writer.estimator(model, Place("model"))
    contents = {
        PIPELINE: write_json(tree),
        ARRAYS: save_tensors(writer.arrays.tensors, _METADATA),
    }
    # What is saved is what was rounded, and computes with NumPy.
    saved = _model(contents)
    licences = [entry.get("licence", "not stated") for entry in writer.weights]
    origins = {json.dumps(entry, sort_keys=True): entry for entry in writer.weights}
    levels = getattr(saved, "classes_", None)
    rough = dtype is not None or b'"bfloat16"' in contents[PIPELINE]
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "versions": installed_versions(_PACKAGES),
        "predicts": "intensity" if levels is None else "level",
        "levels": None if levels is None else levels.tolist(),
        "sample_rate": sample_rate(saved),
        "weights": [origins[key] for key in sorted(origins)],
        "licence": strictest([*licences, *filter(None, [licence])]),
        "corpus": corpus,
        "measures": _plain_measures(measures or {}),
        "examples": {
            "n": N_EXAMPLES,
            "seed": SEED,
            "tolerance": ROUGH_TOLERANCE if rough else TOLERANCE,
            "outputs": example_outputs(saved),
        },
    }
    text = _short_card(manifest) if card is None else str(card)
    check_card(text)
    contents[CARD] = text.encode("utf-8")
    manifest["files"] = {name: _digest(content) for name, content in contents.items()}
    contents[MANIFEST] = write_json(manifest)
    target = Path(path).expanduser().resolve()
    write_files(target, contents)
    return target


def load_model(path: str | os.PathLike[str]) -> Any:
    """Load a bundle that :func:`save_model` wrote, from wherever it comes.

    Classes, parameters, types, shapes and limits are checked before anything is computed; no code
    of the bundle runs, nothing is written, and memory is bounded by the size of its files.
    At the end the model computes its generated inputs, which must give what they gave when it was
    saved.

    Parameters
    ----------
    path : str or path-like
        Folder or zip file; or ``"valence-acted"``, the ready model, which is looked for in
        ``models`` in the data home and in the checkout that this package is run from.

    Returns
    -------
    estimator
        Fitted.

    Raises
    ------
    FileNotFoundError
        If there is no bundle, or weights of the registry that it names are not in the data home;
        the message says how to get them.
    BundleError
        A ValueError, if the bundle is damaged, was changed, is of a newer format, or holds what it
        may not.

    See Also
    --------
    save_model : An example.
    """
    source = find_ready(path) or Path(path).expanduser().resolve()
    contents = read_files(source)
    manifest = _checked_manifest(contents, source)
    try:
        card = contents[CARD].decode("utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(f"{CARD} of {source} is not text in UTF-8: {error}.") from error
    check_card(card)
    model = _model(contents)
    examples = manifest["examples"]
    check_outputs(example_outputs(model), examples.get("outputs"), examples.get("tolerance"))
    return model


def _model(contents: Mapping[str, bytes]) -> Any:
    """Model of JSON and tensors, all of which it must use."""
    tree = read_json(contents[PIPELINE], PIPELINE)
    reader = Reader(_tensors(contents[ARRAYS]))
    model = reader.estimator(tree, Place("model"))
    if unused := sorted(set(reader.tensors) - reader.used):
        raise BundleError(f"{ARRAYS} has arrays that nothing uses, such as {unused[0]!r:.100}.")
    return model


def _tensors(content: bytes) -> dict[str, torch.Tensor]:
    size = int.from_bytes(content[:8], "little")
    if not 2 <= size <= min(_LARGEST_HEADER, len(content) - 8):
        raise BundleError(f"{ARRAYS} has a header of {size} bytes. Get the bundle again.")
    header = read_json(content[8 : 8 + size], ARRAYS)
    if not isinstance(header, dict) or header.get("__metadata__") != _METADATA:
        raise BundleError(f"{ARRAYS} is not one that save_model wrote: its metadata are others.")
    try:
        return load_tensors(content)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise BundleError(f"{ARRAYS} cannot be read: {error}. Get the bundle again.") from error


def _checked_manifest(contents: Mapping[str, bytes], source: Path) -> dict[str, Any]:
    manifest = read_json(contents[MANIFEST], MANIFEST)
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if type(found) is not int or found < 1:
        raise BundleError(f"{MANIFEST} of {source} states no format. It is not a bundle.")
    if found > FORMAT:
        versions = manifest.get("versions")
        maker = versions.get("sklearn-speechsent") if isinstance(versions, dict) else None
        raise BundleError(
            f"{source} has format {found}, and sklearn-speechsent {__version__} reads formats up "
            f"to {FORMAT}. Upgrade it, to {maker or 'the version that saved the bundle'!s:.30}."
        )
    if set(manifest) != _FIELDS or not isinstance(manifest["examples"], dict):
        wrong = sorted(set(manifest) ^ _FIELDS)
        raise BundleError(f"{MANIFEST} of {source} does not have its fields: {wrong[:5]!r:.200}.")
    wanted = {name: _digest(contents[name]) for name in contents if name != MANIFEST}
    if manifest["files"] != wanted:
        known = manifest["files"] if isinstance(manifest["files"], dict) else {}
        name = next((n for n in wanted if known.get(n) != wanted[n]), MANIFEST)
        raise BundleError(
            f"{name} of {source} is not the one that was saved: its checksum is another one. Get "
            "the bundle again."
        )
    return manifest


def _plain_measures(measures: Mapping[str, Any]) -> dict[str, Any]:
    """Measures as JSON has them."""

    def plain(value: Any) -> Any:
        if hasattr(value, "tolist"):  # numbers and arrays of NumPy
            return value.tolist()
        raise TypeError(f"measures hold a {type(value).__name__}, which JSON cannot hold.")

    return json.loads(json.dumps(dict(measures), default=plain, allow_nan=False))


def _digest(content: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}


def _short_card(manifest: Mapping[str, Any]) -> str:
    """Card that says what is inside and where it comes from."""
    levels = manifest["levels"]
    what = "an intensity" if levels is None else f"one of the levels {', '.join(map(str, levels))}"
    lines = [
        "# A model of sklearn-speechsent",
        "",
        f"It predicts {what}. Load it with `sklearn_speechsent.load_model`.",
        "",
        f"- Licence: {manifest['licence'] or 'not stated'}",
        f"- Fitted on: {manifest['corpus'] or 'not stated'}",
    ]
    for entry in manifest["weights"]:
        origin = f"{entry.get('attribution', 'origin not stated')}"
        lines.append(
            f"- Weights `{entry['name']}`: {origin} ({entry.get('licence', 'no licence')})"
        )
    return "\n".join(lines) + "\n"

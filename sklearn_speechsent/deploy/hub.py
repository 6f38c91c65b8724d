"""Models on the Hugging Face hub: bundles uploaded, and loaded without running code."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from sklearn_speechsent.deploy.bundle import load_model, save_model
from sklearn_speechsent.deploy.files import LIMITS, read_files, write_files
from sklearn_speechsent.pretrained.hub import hub_errors


def push_to_hub(
    model: Any,
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    message: str = "Upload model",
    **params: Any,
) -> str:
    """Upload a model to the Hugging Face hub, as a bundle with its card.

    The files of the bundle are uploaded in one commit, and nothing else. The card is the
    README.md that the hub shows.

    Parameters
    ----------
    model : str, Path or estimator
        Bundle that :func:`~sklearn_speechsent.save_model` wrote, or a fitted pipeline.
    repo_id : str
        Name on the hub, ``"owner/name"``; made unless it is there.
    private : bool, optional
        Whether only the owner sees it, if it is made now; by default as the owner's settings say.
    revision : str, optional
        Branch; by default ``main``.
    token : str or bool, optional
        Of the hub; by default the one of ``hf auth login`` or of the variable ``HF_TOKEN``.
    message : str, default="Upload model"
        Of the commit.
    **params : dict
        Parameters of :func:`~sklearn_speechsent.save_model` (``card``, ``weights``, ``dtype``),
        for a pipeline.

    Returns
    -------
    str
        Commit, which ``from_hub(revision=...)`` takes.

    Raises
    ------
    BundleError
        If the pipeline cannot be saved in a bundle, or the path holds no bundle that loads.
    ValueError
        If the hub does not know the name, or does not let this user write.
    ConnectionError
        If the hub cannot be reached.
    ImportError
        If ``huggingface_hub`` is not installed.

    See Also
    --------
    from_hub : Loads it.

    Examples
    --------
    >>> from sklearn_speechsent.deploy import push_to_hub
    >>> push_to_hub("models/valence", "owner/valence")  # doctest: +SKIP
    """
    api = _library().HfApi(token=token)
    if isinstance(model, (str, os.PathLike)) and params:
        raise TypeError(
            f"{', '.join(params)}: for pipelines only. {model} is saved already; save it again."
        )
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder, "bundle")
        if isinstance(model, (str, os.PathLike)):
            # Its files are checked here, not by those who download them.
            load_model(model)
            write_files(bundle, read_files(Path(model)))
        else:
            save_model(model, bundle, **params)
        remedy = "Log in (hf auth login) with a token that may write, and try again."
        with hub_errors(repo_id, revision, f"{repo_id} could not be uploaded", remedy):
            api.create_repo(repo_id, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repo_id,
                folder_path=bundle,
                revision=revision,
                allow_patterns=list(LIMITS),
                commit_message=message,
            )
    return commit.oid


def from_hub(repo_id: str, *, revision: str | None = None, token: str | bool | None = None) -> Any:
    """Load a model from the Hugging Face hub, or from what was downloaded of it before.

    Only the files of a bundle are downloaded, and :func:`~sklearn_speechsent.load_model` reads
    them: no code of the repository is run, whatever it holds.

    Parameters
    ----------
    repo_id : str
        Name on the hub, ``"owner/name"``.
    revision : str, optional
        Commit, tag or branch; by default the newest. A commit cannot be changed afterwards by its
        owner: name one for models that you have checked.
    token : str or bool, optional
        Of the hub; by default the one of ``hf auth login`` or of the variable ``HF_TOKEN``.

    Returns
    -------
    estimator
        Fitted pipeline.

    Raises
    ------
    BundleError
        If the repository holds no bundle, or one that is damaged, hostile or too new.
    ValueError
        If the hub has no such model or revision, or does not give it to this user.
    ConnectionError
        If it is not in the cache and cannot be downloaded.
    ImportError
        If ``huggingface_hub`` is not installed.

    See Also
    --------
    push_to_hub : Uploads a model.

    Examples
    --------
    >>> from sklearn_speechsent.deploy import from_hub
    >>> model = from_hub("owner/valence")  # doctest: +SKIP
    """
    hub = _library()
    remedy = "Download it where there is a network, and pass the folder to load_model."
    failed = f"{repo_id} is not in the cache of the Hugging Face hub, and could not be downloaded"
    with hub_errors(repo_id, revision, failed, remedy):
        found = hub.snapshot_download(
            repo_id, revision=revision, token=token, allow_patterns=list(LIMITS)
        )
    with tempfile.TemporaryDirectory() as folder:
        for name in LIMITS:
            # Its cache holds links, which are not followed in bundles.
            if Path(found, name).is_file():
                shutil.copyfile(Path(found, name), Path(folder, name))
        return load_model(folder)


def _library() -> Any:
    """The client of the hub."""
    try:
        import huggingface_hub
    except ImportError as exception:
        raise ImportError(
            "Models on the Hugging Face hub need the package huggingface_hub: pip install "
            "sklearn-speechsent[hub]."
        ) from exception
    return huggingface_hub

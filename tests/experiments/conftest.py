import pytest


@pytest.fixture(scope="session")
def manifest(speech, tmp_path_factory):
    """Manifest of the synthetic corpus, with names for speakers and real labels."""
    path = tmp_path_factory.mktemp("manifest") / "corpus.csv"
    frame = speech.frame.assign(speaker=[f"voice {s}" for s in speech.groups])
    frame["label"] += 0.25
    frame.to_csv(path, index=False)
    return path

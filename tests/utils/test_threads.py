"""Threads of torch are set for a block of code and restored, also after errors."""

import joblib
import pytest
import torch

from sklearn_speechsent.utils.threads import torch_threads


@pytest.fixture(autouse=True)
def four_threads():
    """A number that no test asks for."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("n_jobs", "expected"), [(None, 4), (1, 1), (3, 3)])
def test_set_and_restored(n_jobs, expected):
    with torch_threads(n_jobs):
        assert torch.get_num_threads() == expected
    assert torch.get_num_threads() == 4


def test_all_cores_in_the_reading_of_joblib():
    with torch_threads(-1):
        assert torch.get_num_threads() == joblib.effective_n_jobs(-1)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_restored_after_an_exception(n_jobs):
    with pytest.raises(KeyError), torch_threads(n_jobs):
        raise KeyError
    assert torch.get_num_threads() == 4


def test_nested():
    with torch_threads(3):
        with torch_threads(2):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == 4

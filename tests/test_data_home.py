"""Only tests that say so see real recordings."""

from sklearn_speechsent.datasets import get_data_home

AT_IMPORT = get_data_home()


def test_other_tests_see_none(request):
    assert request.node.get_closest_marker("data") is None
    assert not get_data_home().exists() and not AT_IMPORT.exists()


def test_who_asks_for_it_is_marked(request, data_home):
    assert request.node.get_closest_marker("data") is not None
    assert get_data_home() == data_home and (data_home / "ravdess").is_dir()

import os

import pytest

from benchmarks import _timing


def cores():
    return len(os.sched_getaffinity(0)), os.environ["OMP_NUM_THREADS"]


def test_every_contestant_has_a_turn_in_every_round():
    calls = []
    contestants = {name: lambda name=name: calls.append(name) for name in "abc"}
    seconds = _timing.take_turns(contestants, rounds=3)
    assert "".join(calls) == "abcbcacababc"
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3, "c": 3}


def test_ratios_are_taken_within_rounds():
    seconds = {"ours": [1.0, 4.0, 2.0], "theirs": [2.0, 12.0, 4.0]}
    assert _timing.ratio(seconds, "theirs", "ours") == 2.0
    assert _timing.rows_of(seconds, "ours")[1] == ["theirs", "4e+03", "2e+03 – 1.2e+04", "2.00"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores can be chosen on Linux")
def test_a_process_of_its_own_has_as_many_cores_and_threads():
    before = os.sched_getaffinity(0), dict(os.environ)
    assert _timing.on_cores(cores, 1) == (1, "1")
    assert (os.sched_getaffinity(0), dict(os.environ)) == before
    with pytest.raises(SystemExit, match="cores are asked for"):
        _timing.on_cores(cores, 10**6)


def test_a_picture_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    _timing.draw_ratios(tmp_path / "a.png", {"work": {"ours": 1.0, "theirs": 2.5}})
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")

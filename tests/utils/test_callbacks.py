"""scikit-learn's callbacks reach every step of a Pipeline and the epochs of a net."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_speechsent import SlidingCMN, SpeechSentimentRegressor

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 has callbacks")


class Recorder:
    """Callback that writes down what begins and ends, in this process."""

    max_propagation_depth = None

    def __init__(self):
        self.begun, self.ended, self.torn_down = [], [], 0

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        self.torn_down += 1

    def on_fit_task_begin(self, estimator, context, **kwargs):
        self.begun.append((context.estimator_name, context.task_name))

    def on_fit_task_end(self, estimator, context, **kwargs):
        self.ended.append((context.estimator_name, context.task_name))


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return [rng.normal(size=(20, 4)) for _ in range(6)], np.arange(6.0) - 2.5


@pytest.fixture
def net():
    return SpeechSentimentRegressor(max_epochs=3, n_jobs=1, random_state=0)


def test_a_pipeline_reports_steps_and_epochs(data, net):
    recorder = Recorder()
    make_pipeline(SlidingCMN(), net).set_callbacks(recorder).fit(*data)
    assert ("SlidingCMN", "fit") in recorder.begun
    assert recorder.begun.count(("SpeechSentimentRegressor", "epoch")) == 3
    assert sorted(recorder.begun) == sorted(recorder.ended)
    assert recorder.torn_down == 1


def test_a_search_hands_callbacks_to_the_net(data, net):
    recorder = Recorder()
    search = GridSearchCV(net, {"lr": [1e-3, 1e-2]}, cv=2)
    search.set_callbacks(recorder).fit(*data)
    assert recorder.begun.count(("SpeechSentimentRegressor", "epoch")) == 3 * (2 * 2 + 1)


def test_callbacks_leave_no_attributes(data, net):
    recorder = Recorder()
    fitted = clone(net).set_callbacks(recorder).fit(*data)
    plain = clone(net).fit(*data)
    np.testing.assert_array_equal(fitted.predict(data[0]), plain.predict(data[0]))
    assert "_callback_fit_ctx" not in vars(fitted)
    assert sorted(fitted.get_params()) == sorted(plain.get_params())
    fitted.set_callbacks()
    assert clone(fitted).get_params(deep=False).keys() == net.get_params(deep=False).keys()


def test_callbacks_are_torn_down_after_an_error(data, net):
    recorder = Recorder()
    with pytest.raises(ValueError, match="NaN"):
        net.set_callbacks(recorder).fit(data[0], [np.nan, *data[1][1:]])
    assert recorder.torn_down == 1

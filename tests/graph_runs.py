"""Running parts of graphs."""

import numpy as np
import onnxruntime

from sklearn_speechsent.graphs.builder import Graph
from sklearn_speechsent.pretrained.encoder import EncoderWeights
from sklearn_speechsent.speech.models import LoadedModel
from sklearn_speechsent.speech.whisper import WhisperFunction
from tests.encoders import random_encoder


def session_of(model):
    """Session of a model, its path or its bytes, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def computed(make, *arrays):
    """What a part of a graph gives for arrays.

    ``make`` takes a graph and a value per array, and gives a value or several.
    """
    graph = Graph()
    names = [f"x{number}" for number in range(len(arrays))]
    values = [
        graph.input(name, array.dtype, [f"{name}_{axis}" for axis in range(array.ndim)])
        for name, array in zip(names, arrays, strict=True)
    ]
    made = make(graph, *values)
    single = not isinstance(made, (list, tuple))
    outputs = {}
    for number, value in enumerate([made] if single else made):
        outputs[f"y{number}"] = value.reshape(-1)
        outputs[f"shape{number}"] = graph.apply("Shape", value)
    session = session_of(graph.model(outputs).SerializeToString())
    feeds = dict(zip(names, map(np.ascontiguousarray, arrays), strict=True))
    found = session.run([*outputs], feeds)
    shaped = [y.reshape(shape) for y, shape in zip(found[::2], found[1::2], strict=True)]
    return shaped[0] if single else shaped


def load_random_encoder(monkeypatch):
    """Let every SpeechEncoder be a small Whisper of random weights, which sees 2 s at a time."""
    weights = EncoderWeights(name="random", state={}, architecture={}, sha256="0")
    model = LoadedModel(random_encoder().prepare(), weights, WhisperFunction)
    monkeypatch.setattr("sklearn_speechsent.speech.encoder.load_model", lambda *args: model)

"""Causal segmentation: the same for any cutting, and equal to the rules frame by frame."""

import numpy as np
import pytest
import soundfile
import torch
from followed import RATE, chunks, told

from sklearn_speechsent import VoiceActivityDetector
from sklearn_speechsent.inference import CausalDetector
from sklearn_speechsent.inference.detection import BLOCK, CONTEXT, LOOK_AHEAD, SHIFT, Detection
from sklearn_speechsent.inference.segmenter import REACH, Segmenter
from sklearn_speechsent.inference.tail import Tail
from sklearn_speechsent.nn import SpeechUNet
from sklearn_speechsent.pretrained import save_vad_weights
from sklearn_speechsent.vad.segments import without_clicks


def segmented(detector, samples, pieces=None):
    segmenter = Segmenter(Detection(detector), detector.hangover, keep=10_000)
    changes = []
    for piece in pieces or (samples[i : i + 4000] for i in range(0, len(samples), 4000)):
        changes += segmenter.push(piece)
    changes += segmenter.finish()
    assert [change.opens for change in changes] == [True, False] * (len(changes) // 2)
    bounds = np.array([change.sample for change in changes]).reshape(-1, 2)
    return bounds, segmenter


def by_the_rules(probabilities, hangover, n):
    """Utterances, one frame after the other."""

    def bound(frame):
        return 0 if frame <= 0 else min(n, SHIFT * frame + 120)

    found, run, speaks, start, last, end = [], None, False, None, None, 0
    for frame, p in enumerate(probabilities):
        if p <= 0.75:
            run, speaks = None, False
        elif run is None:
            run = frame
        if p > 0.9 and not speaks:
            speaks = True
            if start is None:
                start = max(end, bound(max(run, frame - REACH) - hangover))
        if speaks:
            last = frame
        if start is not None and not speaks and frame >= last + hangover:
            end = bound(last + hangover + 1)
            found.append((start, end))
            start = None
    if start is not None:
        found.append((start, bound(last + hangover + 1)))
    return np.array(found, int).reshape(-1, 2)


@pytest.mark.parametrize("hangover", [0, 1, 25, 40])
def test_rules_frame_by_frame(telling, hangover, rng):
    opened = 0
    for _ in range(40):
        # Runs of equal probability, of which some reach the threshold and some do not.
        values = rng.choice([0.1, 0.7, 0.8, 0.85, 0.95], size=60)
        probabilities = np.repeat(values, rng.choice([1, 2, 5, 24, 25, 26, 27, 400], size=60))
        probabilities = probabilities[: rng.integers(1, 3000)]
        samples = told(probabilities)
        n_frames = max(0, (len(samples) - 400) // SHIFT + 1)
        bounds, segmenter = segmented(telling(hangover), samples)
        wanted = by_the_rules(probabilities[:n_frames], hangover, len(samples))
        np.testing.assert_array_equal(bounds, wanted)
        speech = (probabilities[:n_frames] > 0.75).sum()
        assert segmenter.speech_before(len(samples)) == speech
        opened += len(wanted)
    assert opened > 50


def test_cutting_makes_no_difference(conversation):
    samples = conversation.astype(np.float32) / 32768
    detector = CausalDetector.of()
    bounds, _ = segmented(detector, samples)
    assert len(bounds) >= 5
    assert (bounds[:, 1] > bounds[:, 0]).all() and (bounds[1:, 0] >= bounds[:-1, 1]).all()
    assert ((bounds[:-1, 1] - 120) % SHIFT == 0).all() and bounds[-1, 1] <= len(samples)
    for seed in range(2):
        found, _ = segmented(detector, samples, chunks(samples, seed, BLOCK * SHIFT))
        np.testing.assert_array_equal(found, bounds)


def test_what_comes_later_changes_nothing(conversation, rng):
    """An utterance is the same as soon as the look-ahead behind its end is there."""
    samples = conversation.astype(np.float32) / 32768
    bounds, _ = segmented(CausalDetector.of(), samples)
    for start, end in bounds[:3].tolist():
        known = end + (BLOCK + LOOK_AHEAD + 2) * SHIFT
        other = np.concatenate([samples[:known], rng.normal(0, 0.1, 20000).astype(np.float32)])
        found, _ = segmented(CausalDetector.of(), other)
        assert [start, end] in found.tolist()


def test_scores_are_those_of_the_network_in_its_context(conversation):
    """The whole context through the detector's own network, behind the zeros at the start."""
    samples = conversation.astype(np.float32) / 32768
    detector = CausalDetector.of()
    plain = VoiceActivityDetector().fit([samples])
    frames = plain.frontend_.transform([samples])[0]
    for first in range(CONTEXT + BLOCK, len(frames) - BLOCK - LOOK_AHEAD, 6 * BLOCK):
        context = frames[first - CONTEXT : first + BLOCK + LOOK_AHEAD]
        (scores,) = plain.frame_scores([context])
        wanted = without_clicks(scores)[CONTEXT : CONTEXT + BLOCK]
        np.testing.assert_allclose(detector.probabilities(context), wanted, atol=1e-5)


def test_the_shape_is_always_the_same(conversation, monkeypatch):
    shapes = set()
    original = CausalDetector.probabilities

    def probabilities(self, frames):
        shapes.add(frames.shape)
        return original(self, frames)

    monkeypatch.setattr(CausalDetector, "probabilities", probabilities)
    for n in (1, 399, 400, 5119, 5121, 40000):
        segmented(CausalDetector.of(), conversation[:n].astype(np.float32) / 32768)
    assert shapes == {(CONTEXT + BLOCK + LOOK_AHEAD, 80)}


def test_silence_takes_no_network():
    detector = CausalDetector.of()
    frames = np.full((CONTEXT + BLOCK + LOOK_AHEAD, 80), -16.0, np.float32)
    frames[:100] = 3.0  # sound long before
    assert (detector.probabilities(frames) == 0).all()
    bounds, segmenter = segmented(detector, np.zeros(RATE, np.float32))
    assert len(bounds) == 0 and segmenter.decided == segmenter.n == RATE


def test_parameters_of_the_detector(tmp_path, speech):
    detector = CausalDetector.of(VoiceActivityDetector(threshold=0.2, hangover=0.4))
    assert (detector.threshold, detector.low, detector.hangover) == (0.2, 0.1, 40)
    assert CausalDetector.of(detector) is detector
    fitted = VoiceActivityDetector().fit(list(speech.data[:1]))
    trained = fitted.network_.head.bias.detach() + 0.0
    fitted.network_.head.bias.data += 1.0
    np.testing.assert_allclose(CausalDetector.of(fitted).network.head.bias.detach(), trained + 1)
    with pytest.raises(ValueError, match="cannot follow a stream"):
        CausalDetector.of(VoiceActivityDetector("energy"))
    with torch.random.fork_rng():
        network = SpeechUNet(80, widths=(4, 8))
    settings = {**fitted.weights_.frame_settings, "sample_rate": 8000, "high_freq": None}
    path = save_vad_weights(
        tmp_path / "other.safetensors",
        network.state_dict(),
        architecture=network.architecture,
        frame_settings=settings,
    )
    with pytest.raises(ValueError, match=r"other.*at 8000 Hz are not those of 0.025 s every"):
        CausalDetector.of(VoiceActivityDetector(weights=path))


def test_tail_forgets_and_says_so():
    tail = Tail(4, np.int64)
    for first in range(0, 30, 3):
        tail.append(np.arange(first, first + 3))
        assert tail[max(0, tail.n - 4) : tail.n].tolist() == list(range(tail.n))[-4:]
    with pytest.raises(IndexError, match="0 to 2 of"):
        tail[0:2]
    with pytest.raises(IndexError):
        tail[29:31]


def test_far_field_meetings(data_home):
    """Every other clip of AMI; with the whole clip in view 90 % of the frames are right."""
    folder = data_home / "ami_excerpts"
    spoken = [line.split() for line in (folder / "reference.rttm").read_text().splitlines()]
    detector, right = CausalDetector.of(), []
    for path in sorted(folder.glob("*.flac"))[::2]:
        samples, rate = soundfile.read(path, dtype="float32")
        assert rate == RATE
        centres = np.arange(200, len(samples) - 200, SHIFT)
        truth, found = np.zeros((2, len(centres)), bool)
        for fields in spoken:
            if fields[1] == path.stem:
                start, duration = float(fields[3]), float(fields[4])
                truth |= (centres >= RATE * start) & (centres < RATE * (start + duration))
        for start, end in segmented(detector, samples)[0]:
            found |= (centres >= start) & (centres < end)
        right.append(truth == found)
    assert np.concatenate(right).mean() >= 0.87

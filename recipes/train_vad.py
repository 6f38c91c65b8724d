"""Training of the voice activity detector that ships with the package.

    python -m recipes.train_vad --run results/vad [--steps 1200]

A small U-net learns to mark speech in the frames of scenes that are composed differently in every
step: excerpts of one or several speakers, far and near, with pauses of all lengths, in rooms, under
noise, music, clatter and rustling that last or pass, through codecs, from -65 to -10 dBFS. Speech:
251 utterances of LibriSpeech train-clean-100 (CC BY 4.0). Their speech was marked on the clean
recordings by silero-vad (MIT), run at three offsets; speech that noise drowns does not count.
Noises and rooms are generated, or come from the pauses of the recordings. Twenty-five speakers are
held out for validation.

The run may be interrupted at any moment: the same command resumes from the last state in --run and
ends with the same weights. They are written as float16 to --weights, with the record of the
training next to them. experiments.vad measures the file on other recordings.
"""

import json
from io import BytesIO

import numpy as np
import torch
from scipy.ndimage import maximum_filter1d
from torch.nn import functional as F

from experiments._harness.command import make_parser
from experiments._harness.files import write_text
from recipes import _training as training
from recipes import sounds
from recipes._speech import load_speech
from sklearn_speechsent import MelFilterBank, UtteranceFrames, VoiceActivityDetector
from sklearn_speechsent.nn import SpeechUNet
from sklearn_speechsent.pretrained import load_vad_weights, save_vad_weights
from sklearn_speechsent.utils.files import atomic_write

BATCH, SECONDS, PEAK = 16, 8.0, 2e-3
HELD_OUT = 25
#: Samples of a frame, from one frame to the next, and of a window of the teacher.
LENGTH, SHIFT, WINDOW = 400, 160, 512
MFB = MelFilterBank()


def teach(waves, folder):
    """Probability of speech every 10 ms of each clean recording, stored in a file.

    The teacher has windows of 32 ms. With shifted starts, the mean over the windows that contain an
    instant tells where in a window speech began.
    """
    path = folder / "teacher.npz"
    if path.exists():
        with np.load(path) as stored:
            return [stored[str(i)] for i in range(len(waves))]
    from silero_vad import load_silero_vad

    threads = torch.get_num_threads()
    teacher = load_silero_vad()  # sets one thread for the whole process
    torch.set_num_threads(threads)
    labels = []
    for wave in waves:
        centres = np.arange(0, len(wave), SHIFT) + SHIFT // 2
        votes = np.zeros(len(centres))
        for offset in (0, 171, 341):
            padded = np.concatenate([np.zeros(offset, np.float32), wave])
            found = teacher.audio_forward(torch.from_numpy(padded)[None], sounds.RATE)[0].numpy()
            votes += found[np.minimum((centres + offset) // WINDOW, len(found) - 1)] / 3
        labels.append(votes.astype(np.float32))
    content = BytesIO()
    np.savez(content, **{str(i): votes for i, votes in enumerate(labels)})
    atomic_write(path, content.getvalue())
    return labels


def place_voice(scene, truth, start, speech, labels, rng):
    """Put an excerpt of a random speaker into a scene; returns its end."""
    speaker = rng.integers(len(speech))
    speed = float(np.exp(rng.uniform(np.log(0.8), np.log(1.3)))) if rng.random() < 0.5 else 1.0
    length = min(int(rng.uniform(0.4, 7.0) * sounds.RATE * speed), len(speech[speaker]))
    begin = rng.integers(0, len(speech[speaker]) - length + 1)
    voice = sounds.change_speed(speech[speaker][begin : begin + length], speed)
    voice = voice * np.float32(10 ** (rng.normal(0, 5) / 20) / sounds.loudness(speech[speaker]))
    if rng.random() < 0.6:
        voice = sounds.reverberate(voice, rng)
    first, end = max(start, 0), min(start + len(voice), len(scene))
    if end <= first:
        return start + len(voice)
    scene[first:end] += voice[first - start : end - start]
    centres = np.arange(len(truth)) * SHIFT + LENGTH / 2
    inside = (centres >= first) & (centres < end)
    instants = (begin + (centres[inside] - start) * speed) / SHIFT - 0.5
    found = np.interp(instants, np.arange(len(labels[speaker])), labels[speaker])
    truth[inside] = np.maximum(truth[inside], found)
    return start + len(voice)


def pauses_of(wave, votes):
    """Pauses of a recording, of 0.2 s or more."""
    edges = np.flatnonzero(np.diff(votes < 0.1, prepend=False, append=False)).reshape(-1, 2)
    return [wave[a * SHIFT : b * SHIFT] for a, b in edges if b - a >= 20]


def room_tone(n, speech, labels, rng):
    """Background of one recording, breath included, repeated to n samples."""
    speaker = rng.integers(len(speech))
    pauses = pauses_of(speech[speaker], labels[speaker])
    if sum(map(len, pauses)) < sounds.RATE // 2:
        return sounds.coloured_noise(n, rng)
    tone, position = np.zeros(n, np.float32), 0
    while position < n:
        pause = pauses[rng.integers(len(pauses))]
        fade = np.minimum(1, np.minimum(np.arange(len(pause)), np.arange(len(pause))[::-1]) / 320)
        end = min(position + len(pause), n)
        tone[position:end] += (pause * fade)[: end - position]
        position += len(pause) - 320  # the ends overlap
    return tone


def one_noise(n, speech, labels, rng):
    """One kind of noise, of root mean square 1."""
    kind = rng.random()
    if kind < 0.5:
        return sounds.interference(n, rng, [])
    noise = sounds.rustle(n, rng) if kind < 0.75 else room_tone(n, speech, labels, rng)
    return noise / sounds.loudness(noise)


def events(n, speech, labels, rng):
    """Sounds with the rhythm of words, of root mean square about 1 while they last."""
    out = np.zeros(n, np.float32)
    for _ in range(1 + rng.poisson(n / sounds.RATE * rng.uniform(0.1, 1.2))):
        length = min(int(sounds.RATE * np.exp(rng.normal(-0.7, 0.8))) + 800, n)
        sound = one_noise(length, speech, labels, rng)
        rise = rng.uniform(0.02, 0.9)  # where in it the sound is loudest
        place = np.linspace(0, 1, length)
        swell = np.minimum(place / rise, (1 - place) / (1 - rise))
        sound *= (swell ** rng.uniform(0.3, 2) * 10 ** (rng.normal(0, 5) / 20)).astype(np.float32)
        start = rng.integers(0, n - length + 1)
        out[start : start + length] += sound
    return out


def background(n, speech, labels, rng):
    """Background of the voices, steady or not, in the same kinds of rooms."""
    noise = events(n, speech, labels, rng)
    if rng.random() < 0.5:
        lasting = one_noise(n, speech, labels, rng)
        noise = lasting if rng.random() < 0.6 else noise + rng.uniform(0.1, 1) * lasting
    return sounds.reverberate(noise, rng) if rng.random() < 0.6 else noise


def audible(scene, noise):
    """Frames in which speech exceeds the noise in some bins, or does so within 0.1 s."""
    if not noise.any():  # some recordings have digital silence between words
        return np.ones(1 + (len(scene) - LENGTH) // SHIFT, bool)
    full_scale = max(np.abs(scene).max(), np.abs(noise).max())  # scenes have no level yet
    found, drowned = MFB.transform([scene / full_scale, noise / full_scale])
    clear = np.mean(found > drowned + 0.7, axis=1) > 0.1  # 3 dB in a tenth of the bins
    return maximum_filter1d(clear, 21)


def make_scene(speech, labels, rng, seconds=SECONDS):
    """A recording of a few seconds, and the probability of speech in each of its frames."""
    n = int(seconds * sounds.RATE)
    scene = np.zeros(n, np.float32)
    truth = np.zeros(1 + (n - LENGTH) // SHIFT, np.float32)
    if rng.random() > 0.15:
        start = -int(rng.uniform(-3, 5) * sounds.RATE)
        pauses = rng.choice([0.15, 0.6, 1.5, 4.0])
        while start < n:
            start = place_voice(scene, truth, start, speech, labels, rng)
            pause = -0.5 if rng.random() < 0.15 else rng.exponential(pauses)  # some interrupt
            start += int(pause * sounds.RATE)
    loud = sounds.loudness(scene) / np.sqrt(max(float(truth.mean()), 0.05))
    if loud < 1e-3:  # no voice, or only the end of one
        loud, truth[:] = 1.0, 0.0
    floor = (
        sounds.coloured_noise(n, rng) if rng.random() < 0.5 else room_tone(n, speech, labels, rng)
    )
    noise = floor * np.float32(loud * 10 ** (-rng.uniform(15, 70) / 20) / sounds.loudness(floor))
    if rng.random() < 0.8:
        louder = background(n, speech, labels, rng)
        if rng.random() < 0.3:  # something sets in or stops
            edge = rng.integers(0, n)
            louder[slice(edge) if rng.random() < 0.5 else slice(edge, None)] *= 0.03
        noise += louder * np.float32(loud * 10 ** (-rng.uniform(-3, 30) / 20))
    if truth.any():
        truth *= audible(scene, noise)
    scene += noise
    if not scene.any():
        scene = sounds.coloured_noise(n, rng)
    if rng.random() < 0.3:
        scene = sounds.colour(scene, rng)
    return sounds.record(scene, rng.uniform(-65, -10), rng), truth


def make_scenes(n, speech, labels, rng, seconds=SECONDS):
    """Frames of shape (n, time, mel) and their probabilities of speech, (n, time)."""
    scenes = (make_scene(speech, labels, rng, seconds) for _ in range(n))
    waves, truths = zip(*scenes, strict=True)
    frames = MFB.transform(list(waves))
    shape = (n, -1, frames.frame_shape[0])
    return torch.from_numpy(frames.base.reshape(shape)), torch.from_numpy(np.stack(truths))


def logits_of(network, frames):
    """Logit of every frame."""
    return network(frames, torch.full((len(frames),), frames.shape[1])).float()


def accuracies(path, speech, labels, rng):
    """Accuracy after smoothing, by threshold, on long scenes: the default threshold is the best.

    Smoothing adds a quarter of a second on either side of speech, so that the best threshold is
    well above one half.
    """
    frames, truths = make_scenes(240, speech, labels, rng, seconds=24.0)
    spoken = np.concatenate(truths.numpy()) > 0.5
    frames = UtteranceFrames.from_arrays(
        list(frames.numpy()), frame_settings=load_vad_weights(path).frame_settings
    )
    shift = frames.frame_settings["frame_shift"]
    result = {}
    for threshold in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        detector = VoiceActivityDetector(weights=path, threshold=threshold).fit(frames)
        segments = detector.speech_segments(frames)
        middles = np.arange(frames.lengths[0]) * shift + frames.frame_settings["frame_length"] / 2
        found = np.zeros((len(frames), len(middles)), bool)
        for row, start, end in segments.itertuples(index=False):
            found[row] |= (middles >= start) & (middles < end)
        result[str(threshold)] = round(float((found.ravel() == spoken).mean()), 4)
    return result


def main():
    """Train, then write weights and record."""
    parser = make_parser(__doc__, out=None)
    training.add_options(parser, "results/vad", 1200)
    options = parser.parse_args()
    options.run.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    waves = load_speech()
    labels = teach(waves, options.run)
    MFB.fit([waves[0]])
    rng = np.random.default_rng([options.seed, 2**32 - 1])
    held_out, wanted = make_scenes(64, waves[:HELD_OUT], labels[:HELD_OUT], rng)
    unseen = waves[:HELD_OUT], labels[:HELD_OUT]
    speech, labels = waves[HELD_OUT:], labels[HELD_OUT:]
    network = SpeechUNet().train()

    def make_batch(seed, step):
        return make_scenes(BATCH, speech, labels, np.random.default_rng([seed, step]))

    def losses_of(batch):
        frames, truths = batch
        with training.autocast(options.precision):
            logits = logits_of(network, frames)
        return {"frames": F.binary_cross_entropy_with_logits(logits, truths)}

    def validate():
        network.eval()
        with torch.inference_mode():
            found = logits_of(network, held_out) > 0
        network.train()
        spoken = wanted > 0.5
        figures = {
            "miss": (spoken & ~found).sum() / spoken.sum(),
            "false alarm": (found & ~spoken).sum() / (~spoken).sum(),
            "accuracy": (found == spoken).float().mean(),
        }
        return {name: round(float(value), 4) for name, value in figures.items()}

    record = training.train(
        options, {"network": network}, make_batch, losses_of, {"frames": 1.0}, validate, PEAK
    )
    path = options.weights or options.run / "speechsent-unet-vad.safetensors"
    save_vad_weights(
        path,
        training.halved(network.state_dict()),
        architecture=network.architecture,
        frame_settings=MFB.transform(waves[:1]).frame_settings,
        extra={
            "licence": "CC BY 4.0",
            "data": f"LibriSpeech train-clean-100, one utterance of each of {len(speech)} speakers",
            "teacher": "silero-vad",
            "seed": options.seed,
            "steps": options.steps,
        },
    )
    record["accuracy by threshold"] = accuracies(path, *unseen, rng)
    print(record["accuracy by threshold"])
    write_text(path.with_suffix(".json"), json.dumps(record, indent=1))
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()

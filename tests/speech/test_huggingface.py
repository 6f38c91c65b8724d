"""Encoders of the Hugging Face hub against transformers itself, from folders and from a cache."""

import builtins
import json
import pickle
import shutil
import subprocess
import sys
from importlib.util import find_spec

import joblib
import numpy as np
import pytest
import torch
from encoders import assert_the_same_however_asked, random_encoder
from safetensors.torch import load_file, save_file

from sklearn_speechsent import SpeechEncoder
from sklearn_speechsent.pretrained.encoder import TRANSFORMERS_NAMES
from sklearn_speechsent.speech import huggingface

transformers = pytest.importorskip("transformers")
hub = pytest.importorskip("huggingface_hub")

N_BLOCKS = 3
TINY = {
    "hidden_size": 32,
    "num_hidden_layers": N_BLOCKS,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 5,
    "num_conv_pos_embedding_groups": 2,
}
#: Configuration of each kind, and whether recordings are normalised.
KINDS = {
    "wav2vec2": (transformers.Wav2Vec2Config, {}, True),
    "wav2vec2-stable": (
        transformers.Wav2Vec2Config,
        {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True},
        True,
    ),
    "hubert-stable": (transformers.HubertConfig, {"do_stable_layer_norm": True}, None),
    "wavlm": (transformers.WavLMConfig, {}, False),
    "wavlm-stable": (transformers.WavLMConfig, {"do_stable_layer_norm": True}, True),
    "data2vec": (transformers.Data2VecAudioConfig, {}, True),
}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def noise(seconds, seed=0):
    rng = np.random.default_rng(seed)
    return (0.02 + rng.normal(scale=0.1, size=round(16000 * seconds))).astype(np.float32)


def randomised(model):
    """Weights that make all parts matter."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            tensor.normal_(std=1.5 / tensor[0].numel() ** 0.5, generator=generator)
            if "norm" in name and name.endswith("weight"):
                tensor.add_(1.0)
            if name.endswith("original0"):
                tensor.abs_()
    return model.eval()


def save(kind, folder):
    """Write a tiny random model as transformers does."""
    config, options, normalized = KINDS[kind]
    with torch.random.fork_rng():
        model = randomised(transformers.AutoModel.from_config(config(**TINY, **options)))
    model.save_pretrained(folder)
    if normalized is not None:
        transformers.Wav2Vec2FeatureExtractor(do_normalize=normalized).save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folder and model of transformers of each kind."""
    root = tmp_path_factory.mktemp("models")
    return {kind: (root / kind, save(kind, root / kind)) for kind in KINDS}


@pytest.fixture
def folder(models):
    return models["wavlm-stable"][0]


def layers_of(model, sound, normalized):
    """What goes into the first block, and comes out of each, by transformers."""
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=normalized)
    given = extractor(sound, sampling_rate=16000, return_tensors="pt").input_values
    last = []
    hook = model.encoder.layers[-1].register_forward_hook(
        lambda module, args, made: last.append(made[0] if isinstance(made, tuple) else made)
    )
    with torch.inference_mode():
        found = model(given, output_hidden_states=True).hidden_states
    hook.remove()
    # In the last of them, some models have their final norm.
    return [layer[0].numpy() for layer in (*found[:-1], last[0].reshape(found[-1].shape))]


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_is_that_of_transformers(models, kind):
    path, model = models[kind]
    sounds = [noise(0.7, 1), noise(0.025, 2), noise(1.31, 3)]
    layers = list(range(N_BLOCKS + 1))
    frames = SpeechEncoder(path, layers=layers, pooling=None).fit_transform(sounds)
    for found, sound in zip(frames, sounds, strict=True):
        expected = layers_of(model, sound, KINDS[kind][2] is not False)
        assert found.shape == (len(expected[0]), N_BLOCKS + 1, 32)
        for layer, other in enumerate(expected):
            assert np.abs(found[:, layer] - other).max() <= 1e-5 * np.abs(other).max(), layer


@pytest.mark.parametrize("kind", ["wav2vec2", "wavlm"])
def test_only_blocks_up_to_the_highest_are_built(models, kind):
    path, _ = models[kind]
    for layers in [(0,), (1, 0), (2,)]:
        encoder = SpeechEncoder(path, layers=layers).fit([noise(0.1)])
        assert len(encoder.network_.model.encoder.layers) == max(layers)
        table = encoder.transform([noise(0.4)])
        everything = SpeechEncoder(path, layers=layers, n_blocks=3).fit_transform([noise(0.4)])
        assert np.array_equal(table, everything) and table.shape == (1, 32 * len(layers))


@pytest.mark.parametrize("kind", ["wav2vec2", "wavlm-stable"])
@pytest.mark.parametrize("pooling", ["stats", None])
def test_alone_shuffled_in_threads_and_from_a_store_it_is_the_same(models, kind, pooling, tmp_path):
    sounds = [noise(seconds, seed) for seed, seconds in enumerate((0.5, 1.9, 0.03, 1.1))]
    encoder = SpeechEncoder(models[kind][0], pooling=pooling, layers=(1, 2))
    assert_the_same_however_asked(encoder, sounds, tmp_path)


def test_threads_share_a_network(folder):
    sounds = [noise(0.2 + 0.1 * seed, seed) for seed in range(12)]
    expected = SpeechEncoder(folder, layers=(2, 0)).fit_transform(sounds)
    with joblib.parallel_config("threading"):
        found = SpeechEncoder(folder, layers=(2, 0), n_jobs=4).fit_transform(sounds)
    assert np.array_equal(found, expected)


def test_long_recordings_are_pieces_normalised_as_a_whole(models, monkeypatch):
    monkeypatch.setattr(huggingface, "_LONGEST", 40)
    path, model = models["wav2vec2"]
    sound = noise(2.0)
    sound[16000:] *= 3  # halves of unequal level
    found = SpeechEncoder(path, layers=[2], pooling=None).fit_transform([sound])[0][:, 0]
    whole = (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)
    parts = [whole[:10640], whole[10560:21200], whole[21120:]]  # 33 positions each
    expected = np.concatenate([layers_of(model, part, False)[2] for part in parts])
    assert len(found) == 99
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_half_a_minute_is_one_piece_and_more_is_two(models, monkeypatch):
    lengths = []
    forward = huggingface.WaveformEncoder.forward

    def counting(self, waveforms, layers):
        lengths.append(waveforms.shape[1])
        return forward(self, waveforms, layers)

    monkeypatch.setattr(huggingface.WaveformEncoder, "forward", counting)
    SpeechEncoder(models["wav2vec2"][0], layers=[0]).fit_transform([noise(30), noise(30.02)])
    assert lengths == [480000, 240080, 240320]


def test_gain_and_silence_at_the_ends_change_nothing(folder):
    sound, silence = noise(0.8) - np.float32(0.02), np.zeros(9000, np.float32)
    variants = [sound, np.concatenate([silence, sound, silence[:77]]), 5 * sound]
    table = SpeechEncoder(folder, layers=(1, 3)).fit_transform(variants)
    assert np.array_equal(table[0], table[1])
    assert np.abs(table[2] - table[0]).max() <= 1e-3 * np.abs(table).max()
    with pytest.raises(ValueError, match="takes waveforms, which it normalises itself"):
        SpeechEncoder(folder, layers=(1,), normalize="level").fit([sound])


@pytest.mark.skipif(find_spec("openvino") is None, reason="the package openvino is not installed")
def test_openvino_is_for_whisper(folder):
    with pytest.raises(ValueError, match=r"is for Whisper, and .* takes waveforms"):
        SpeechEncoder(folder, layers=(1,), backend="openvino").fit([noise(0.8)])


def test_a_fitted_encoder_needs_no_folder(models, tmp_path):
    shutil.copytree(models["wav2vec2"][0], tmp_path / "model")
    encoder = SpeechEncoder(tmp_path / "model", layers=(1, 2)).fit([noise(0.1)])
    expected = encoder.transform([noise(0.6)])
    shutil.rmtree(tmp_path / "model")
    again = pickle.loads(pickle.dumps(encoder))  # after a run, too
    assert np.array_equal(again.transform([noise(0.6)]), expected)


def test_bfloat16_is_close(models):
    for path, _ in models.values():
        tables = [
            SpeechEncoder(path, layers=(0, 1), precision=precision).fit_transform([noise(0.6)])
            for precision in ("float32", "bfloat16")
        ]
        assert tables[1].dtype == np.float32
        assert 0 < np.linalg.norm(tables[1] - tables[0]) < 0.05 * np.linalg.norm(tables[0])


def test_the_checksum_covers_weights_and_configuration(models, tmp_path):
    path = tmp_path / "model"
    shutil.copytree(models["wav2vec2"][0], path)

    def checksum():
        weights = SpeechEncoder(path, layers=(1,)).fit([noise(0.1)]).weights_
        assert weights.state == {} and "revision" not in weights.extra
        return weights.sha256

    found = [checksum(), checksum()]
    preprocessor = path / "preprocessor_config.json"
    preprocessor.write_text(preprocessor.read_text().replace("true", "false"))
    found.append(checksum())
    change(path, hidden_act="relu")
    found.append(checksum())
    state = load_file(path / "model.safetensors")
    state["encoder.layers.0.layer_norm.weight"] += 1
    save_file(state, path / "model.safetensors")
    found.append(checksum())
    assert found[0] == found[1] and len(set(found)) == 4


def test_heads_shards_and_older_names_of_tensors(models, tmp_path):
    """As in models for speech recognition, and in files of older releases."""
    path, _ = models["wav2vec2"]
    state = load_file(path / "model.safetensors")
    older = {
        f"wav2vec2.{key}".replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for key, tensor in state.items()
        if "masked" not in key
    }
    assert any(key.endswith("weight_g") for key in older)
    older["lm_head.weight"] = torch.zeros(3, 32)
    other = tmp_path / "other"
    shutil.copytree(path, other)
    (other / "model.safetensors").unlink()
    keys = sorted(older)
    shards = {f"model-0000{i}-of-00002.safetensors": keys[i - 1 :: 2] for i in (1, 2)}
    for name, part in shards.items():
        save_file({key: older[key] for key in part}, other / name)
    index = {"weight_map": {key: name for name, part in shards.items() for key in part}}
    (other / "model.safetensors.index.json").write_text(json.dumps(index))
    tables = [
        SpeechEncoder(model, layers=(3,)).fit_transform([noise(0.5)]) for model in (path, other)
    ]
    assert np.array_equal(*tables)
    (other / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ValueError, match=r"no file model-00002-of-00002\.safetensors"):
        SpeechEncoder(other).fit([noise(0.1)])


@pytest.mark.parametrize("n_mels", [80, 128])
def test_whisper_of_another_size_runs_in_our_network(tmp_path, n_mels):
    ours = random_encoder(n_mels=n_mels, width=128, n_blocks=3, n_positions=60)
    config = transformers.WhisperConfig(
        num_mel_bins=n_mels,
        d_model=128,
        encoder_layers=3,
        encoder_attention_heads=2,
        encoder_ffn_dim=512,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=64,
        max_source_positions=60,
        vocab_size=20,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
        decoder_start_token_id=0,
    )
    state = {}
    for key, tensor in ours.state_dict().items():
        for other, name in TRANSFORMERS_NAMES.items():
            key = key.replace(name, other)
        state[key] = tensor
    path, sound = tmp_path / "model", noise(0.9)
    expected = None
    for cls in (transformers.WhisperModel, transformers.WhisperForConditionalGeneration):
        with torch.random.fork_rng():
            whole = cls(config)
        whole.get_encoder().load_state_dict(state, strict=False)
        shutil.rmtree(path, ignore_errors=True)
        whole.save_pretrained(path)
        encoder = SpeechEncoder(path, layers=(3, 1)).fit([sound])
        assert encoder.network_.architecture == ours.architecture
        if expected is None:
            file = tmp_path / "ours.safetensors"
            save_file({f"encoder.{key}": t for key, t in ours.state_dict().items()}, file)
            expected = SpeechEncoder(file, layers=(3, 1)).fit_transform([sound])
        assert np.array_equal(encoder.transform([sound]), expected)
        assert encoder.weights_.extra == {}
    change(path, encoder_attention_heads=4)
    with pytest.raises(ValueError, match="has 4 heads for 128 values"):
        SpeechEncoder(path, layers=(1,)).fit([sound])


def change(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def broken(folder, tmp_path):
    """Copy of a model that tests may break."""
    shutil.copytree(folder, tmp_path / "model")
    return tmp_path / "model"


def fit(model, **params):
    return SpeechEncoder(model, **{"layers": (1,), **params}).fit([noise(0.1)])


def test_folders_that_cannot_be_used(broken, tmp_path):
    with pytest.raises(
        ValueError, match=r"has 3 blocks: layer 4 does not exist. Layers are 0 to 3"
    ):
        fit(broken, layers=(1, 4))
    with pytest.raises(ValueError, match="revision='main' is for models on the Hugging Face hub"):
        fit(broken, revision="main")
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist\. Pass a folder"):
        fit(tmp_path / "nowhere")
    (broken / "model.safetensors").rename(broken / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"no file model\.safetensors.*can run code.*save_pre"):
        fit(broken)
    (broken / "model.safetensors").write_bytes(b"\x10" + bytes(30))
    with pytest.raises(ValueError, match=r"model\.safetensors \(31 bytes\) cannot be read as"):
        fit(broken)
    save_file({"encoder.layer_norm.weight": torch.ones(32)}, broken / "model.safetensors")
    with pytest.raises(ValueError, match=r"model does not fit the network: '.*' .* is missing"):
        fit(broken)
    (broken / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is not JSON"):
        fit(broken)
    (broken / "config.json").unlink()
    with pytest.raises(ValueError, match=r"has no config\.json"):
        fit(broken)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bert"}, "is a model of type 'bert', not a speech encoder"),
        ({"model_type": None}, "type None"),
        ({"conv_stride": [5, 2, 2, 2, 2, 2, 1]}, "has a position each 160 samples"),
        ({"hidden_size": 64}, "does not fit the network"),
    ],
)
def test_configurations_that_cannot_be_used(broken, changes, message):
    change(broken, **changes)
    with pytest.raises(ValueError, match=message):
        fit(broken)


def test_code_of_a_model_never_runs(broken):
    (broken / "code.py").write_text("raise SystemExit('code ran')")
    auto = {"AutoConfig": "code.Config", "AutoModel": "code.Model"}
    change(broken, auto_map=auto)
    assert np.isfinite(fit(broken).transform([noise(0.3)])).all()
    change(broken, model_type="mine")
    with pytest.raises(ValueError, match="type 'mine'"):
        fit(broken)


def test_transformers_is_imported_for_its_own_models_alone(tmp_path):
    file = tmp_path / "small.safetensors"
    state = random_encoder().state_dict()
    save_file({f"encoder.{key}": tensor for key, tensor in state.items()}, file)
    code = """
import sys
import numpy as np
from sklearn_speechsent import SpeechEncoder
SpeechEncoder(sys.argv[1]).fit([np.ones(4000, np.float32)])
assert not {"transformers", "huggingface_hub"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code, str(file)], check=True)


def test_transformers_that_is_not_installed_is_named(folder, monkeypatch):
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] in ("transformers", "huggingface_hub"):
            raise ImportError(f"No module named {name!r}")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    for model in (folder, "owner/name"):
        with pytest.raises(ImportError, match=r"pip install sklearn-speechsent\[encoders\]"):
            fit(model)


# -- hub -----------------------------------------------------------------------------------------


@pytest.fixture
def cache(folder, tmp_path, monkeypatch):
    """Cache of the hub with the model owner/name, and a hub that cannot be reached."""
    root = tmp_path / "cache"
    model = root / "models--owner--name"
    shutil.copytree(folder, model / "snapshots" / COMMIT)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(root))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    return model / "snapshots" / COMMIT


def test_a_model_in_the_cache_needs_no_network(cache, folder):
    encoder = fit("owner/name")
    assert encoder.weights_.extra == {"revision": COMMIT}
    assert np.array_equal(encoder.transform([noise(0.4)]), fit(folder).transform([noise(0.4)]))
    pinned = fit("owner/name", revision=COMMIT).weights_
    assert pinned.extra == {"revision": COMMIT} and pinned.sha256 == encoder.weights_.sha256


def test_without_network_the_error_names_the_command(cache):
    message = r"could not be downloaded: .*hf download owner/other --revision v2 --"
    with pytest.raises(ConnectionError, match=message):
        fit("owner/other", revision="v2")


@pytest.mark.parametrize("file", ["model.safetensors", "preprocessor_config.json"])
def test_a_file_that_the_cache_lacks_is_not_taken_for_missing(cache, file):
    """Downloads are interrupted, and other programs leave out what they do not need."""
    (cache / file).unlink()
    with pytest.raises(ConnectionError, match=f"{file} of owner/name is not in the cache"):
        fit("owner/name")
    absent = cache.parents[1] / ".no_exist" / COMMIT
    absent.mkdir(parents=True)
    for name in (file, "model.safetensors.index.json"):
        (absent / name).touch()  # what the hub said before
    if file == "model.safetensors":
        with pytest.raises(ValueError, match=r"no file model\.safetensors.*can run code"):
            fit("owner/name")
    else:
        assert fit("owner/name").network_.normalize


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            "GatedRepoError",
            r"its licence at https://huggingface\.co/owner/new.*hf auth login",
        ),
        ("RepositoryNotFoundError", "neither a folder owner/new nor a public model"),
        ("RevisionNotFoundError", "no revision 'v1'"),
    ],
)
def test_models_that_the_hub_does_not_give(cache, monkeypatch, error, message):
    kind = getattr(hub.errors, error)

    def refuse(*args, **kwargs):
        raise kind.__new__(kind)  # its arguments differ between releases

    monkeypatch.setattr(hub, "hf_hub_download", refuse)
    with pytest.raises(ValueError, match=message):
        fit("owner/new", revision="v1")


def test_only_json_and_safetensors_are_downloaded_tensors_last(cache, monkeypatch):
    asked = []

    def download(name, file, *, revision):
        asked.append((name, file, revision))
        return str(cache / file)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *args, **kwargs: None)
    fit("owner/name", revision="v1")
    assert asked == [
        ("owner/name", "config.json", "v1"),
        ("owner/name", "preprocessor_config.json", COMMIT),
        ("owner/name", "model.safetensors", COMMIT),
    ]
    asked.clear()
    change(cache, model_type="bert")
    with pytest.raises(ValueError, match="type 'bert'"):
        fit("owner/name")
    assert len(asked) == 1  # without its tensors


def test_a_name_without_owner_names_the_remedy():
    with pytest.raises(ValueError, match=r"named 'wavlm-large'; .* hub is named owner/name\."):
        fit("wavlm-large")


def test_a_revision_of_a_registered_encoder_is_refused():
    with pytest.raises(ValueError, match="revision='v1' is for models on the Hugging Face hub"):
        fit("whisper-base", revision="v1")

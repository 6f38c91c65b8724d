"""The page in a real browser, whose microphone is a file, on a running service."""

import csv
import io
import json
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from served import listening

from sklearn_speechsent import StreamingSentiment, load_model, sentiment_timeline
from sklearn_speechsent.inference.display import band
from sklearn_speechsent.inference.events import event_as_dict

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
ROOT = Path(__file__).parents[2]
#: ``npm install axe-core`` in the checkout puts it there.
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
PAGE = ROOT / "sklearn_speechsent" / "serve" / "page"

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(scope="module")
def model(bundle):
    return load_model(bundle)


@pytest.fixture(scope="module")
def address(pool):
    with listening(pool, max_mb=1.0) as address:
        yield f"http://{address}/"


@pytest.fixture(scope="module")
def voice(tmp_path_factory, data_home):
    """Two sentences of actors with pauses, at the rate of a sound card."""
    parts = []
    for actor, stem in (("23", "03-01-03-02-01-01-23"), ("24", "03-01-05-02-02-01-24")):
        samples, rate = soundfile.read(data_home / "ravdess" / f"Actor_{actor}" / f"{stem}.flac")
        parts += [samples, np.zeros(rate // 2)]
    samples = soxr.resample(np.concatenate(parts), rate, 48_000)
    path = tmp_path_factory.mktemp("voice") / "voice.wav"
    soundfile.write(path, 0.5 * samples / np.abs(samples).max(), 48_000)
    return path


@pytest.fixture(scope="module")
def chromium():
    """Function that starts the browser with more flags."""
    flags = ["--no-sandbox", "--use-fake-device-for-media-stream"]
    with sync_api.sync_playwright() as playwright:
        launch = partial(playwright.chromium.launch, executable_path=CHROMIUM)
        yield lambda *more: launch(args=[*flags, *more])


@pytest.fixture(scope="module")
def browser(chromium):
    with chromium() as browser:
        yield browser


@pytest.fixture
def opened(browser, address):
    """Function that opens the page in a context of its own; it must not write to the console."""
    contexts, problems = [], []

    def open_page(script=None, at=address, within=browser, **settings):
        context = within.new_context(**settings)
        contexts.append(context)
        context.set_default_timeout(30_000)
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        if script:
            page.add_init_script(script)
        page.goto(at)
        reach(page, "ready")
        return page

    open_page.problems = problems
    yield open_page
    for context in contexts:
        context.close()
    # Chromium itself reports answers that are not 200; tests of refusals expect those.
    assert [each for each in problems if "Failed to load resource" not in each] == []


def reach(page, state):
    page.wait_for_selector(f"body[data-state={state}]")


def choose(page, name, content):
    page.set_input_files("#file", {"name": name, "mimeType": "", "buffer": content})


def see_cursor(page):
    page.wait_for_selector("#picture .cursor[visibility=visible]", state="attached")


def wav(samples, rate=16_000):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV")
    return file.getvalue()


def drop(page, path):
    """Let a file fall on the page, as a person does."""
    transfer = page.evaluate_handle(
        """([name, bytes]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name));
            return transfer;
        }""",
        [path.name, list(path.read_bytes())],
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})


def downloaded(page, button):
    with page.expect_download() as download:
        page.click(button)
    return Path(download.value.path()).read_bytes().decode()


def test_microphone(opened, chromium, voice, model):
    sent, received = [], []

    def watch(socket):
        socket.on("framesent", lambda frame: sent.append(frame))  # playwright wants a function
        socket.on("framereceived", lambda text: received.append(json.loads(text)))

    spy = """const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = (c) => { window.asked = c; return ask(c); };"""
    with chromium(f"--use-file-for-fake-audio-capture={voice}") as browser:
        page = opened(spy, within=browser, permissions=["microphone"])
        page.on("websocket", watch)
        page.focus("#record")
        page.keyboard.press("Enter")
        page.wait_for_selector("#rows tr")
        page.keyboard.press("Space")
        reach(page, "done")
        off = {"autoGainControl": False, "echoCancellation": False, "noiseSuppression": False}
        assert page.evaluate("window.asked") == {"audio": off}
        shown = json.loads(downloaded(page, "#json"))
        number = page.inner_text("#score-number")
        figures = [row.inner_text() for row in page.query_selector_all("#rows td:nth-child(3)")]

    hello, *blocks, finish = sent
    hello = json.loads(hello)
    assert hello == {"sample_rate": hello["sample_rate"], "format": "f32le", "step": 1}
    assert json.loads(finish) == {"type": "finish"}
    stream = StreamingSentiment(model, sample_rate=hello["sample_rate"])
    events = [
        event_as_dict(e) for block in blocks for e in stream.push(np.frombuffer(block, "<f4"))
    ]
    events += [event_as_dict(event) for event in stream.finish()]
    assert received[0]["type"] == "ready" and received[-1]["type"] == "end"
    # A busy machine may leave out provisional scores, and nothing else.
    assert received[1:-1] == [e for e in events if e in received or e.get("final") is not False]
    scores = [event for event in received if event["type"] == "Score"]
    n_samples = sum(map(len, blocks)) // 4
    assert shown["duration"] == pytest.approx(n_samples / hello["sample_rate"])
    keys = ("start", "end", "level", "expected", "probabilities", "speech", "final")
    assert shown["rows"] == [{"channel": None} | {key: e[key] for key in keys} for e in scores]
    finals = [event for event in scores if event["final"]]
    assert figures == [written(event["expected"]) for event in finals]
    scored = [event for event in finals if event["expected"] is not None]
    weights = [event["speech"] for event in scored]
    assert number == written(np.average([e["expected"] for e in scored], weights=weights))
    assert opened.problems == []


def written(expected):
    return "–" if expected is None else f"{expected:+.1f}".replace("-", "−")


def test_dropped_file(opened, speech, model):
    page, path = opened(), Path(speech.data[1])
    drop(page, path)
    reach(page, "done")
    probabilities = model.predict_proba([str(path)])[0]
    whole = json.loads(downloaded(page, "#json"))["score"]
    np.testing.assert_allclose(whole["probabilities"], probabilities, atol=1e-6)
    np.testing.assert_allclose(whole["expected"], probabilities @ [-1, 0, 1], atol=1e-6)
    shares = [each.inner_text() for each in page.query_selector_all("#shares .percent")]
    assert shares == [f"{share:.0%}".replace("%", " %") for share in probabilities[::-1]]
    expected = sentiment_timeline(model, [str(path)])
    rows = list(csv.DictReader(io.StringIO(downloaded(page, "#csv"))))
    columns = [name for name in expected.columns if name not in ("channel", "speaker")]
    assert list(rows[0]) == columns
    assert [row["final"] for row in rows] == [str(final) for final in expected["final"]]
    for name in columns[1:-1]:
        found = [float(row[name] or "nan") for row in rows]
        np.testing.assert_allclose(found, expected[name].astype(float), atol=1e-3)
    page.wait_for_selector("#picture .wave[d^=M]")
    scored = expected[expected["final"] & expected["expected"].notna()]
    assert len(page.query_selector_all("#picture .bar")) == len(scored)
    low, high = band(scored.filter(like="p(").to_numpy(), np.array([-1.0, 0.0, 1.0]))
    ranges = [f"{written(a)} to {written(b)}" for a, b in zip(low, high, strict=True)]
    cells = [row.inner_text() for row in page.query_selector_all("#rows td:nth-child(4)")]
    assert [cell for cell in cells if cell != "–"] == ranges
    assert opened.problems == []


def test_keyboard(opened, speech):
    """From the beginning to playback without a mouse."""
    page = opened()
    page.on("filechooser", lambda chooser: chooser.set_files(speech.data[0]))
    passed = []
    while not passed or passed[-1] != "file":
        page.keyboard.press("Tab")
        passed.append(page.evaluate("document.activeElement.id"))
        assert len(passed) < 10
    assert "record" in passed
    page.keyboard.press("Enter")
    reach(page, "done")
    assert page.evaluate("document.activeElement.id") == "file"
    page.focus("#rows button")
    page.keyboard.press("Enter")
    page.wait_for_selector("#rows .playing")
    see_cursor(page)


def test_click_on_picture(opened, speech):
    page = opened()
    choose(page, "voice.wav", Path(speech.data[0]).read_bytes())
    reach(page, "done")
    box = page.locator("#picture").bounding_box()
    page.click("#picture", position={"x": 0.6 * box["width"], "y": 0.5 * box["height"]})
    see_cursor(page)
    duration, second = page.eval_on_selector("#player", "e => [e.duration, e.currentTime]")
    assert 0.4 * duration < second < 0.8 * duration


@pytest.mark.parametrize(
    ("name", "state"),
    [("NotAllowedError", None), ("NotFoundError", "missing"), ("NotReadableError", "taken")],
)
def test_no_microphone(opened, name, state):
    refuse = f"async () => {{ throw new DOMException('', '{name}') }}"
    script = f"navigator.mediaDevices.getUserMedia = {refuse}" if state else None
    page = opened(script)  # without permission Chromium itself refuses
    page.click("#record")
    reach(page, state or "permission")
    assert page.is_enabled("#record") and page.is_enabled("#file")


def test_insecure_address(opened):
    page = opened("Object.defineProperty(navigator, 'mediaDevices', {value: undefined})")
    page.click("#record")
    reach(page, "insecure")


def test_silent_microphone(opened):
    """It is said while nothing is heard, and at the end."""
    silence = """AudioContext.prototype.createMediaStreamSource = function () {
        return new ConstantSourceNode(this, { offset: 0 });
    };"""
    page = opened(silence, permissions=["microphone"])
    page.click("#record")
    reach(page, "muted")
    page.click("#record")
    reach(page, "nobody")


@pytest.mark.parametrize(
    ("name", "content", "state"),
    [
        ("empty.wav", b"", "empty"),
        ("notes.txt", b"not a recording" * 99, "unsupported"),
        ("large.wav", bytes(1_000_001), "large"),
        ("silence.wav", wav(np.zeros(32_000)), "nobody"),
    ],
)
def test_unusable_file(opened, name, content, state):
    page = opened()
    choose(page, name, content)
    reach(page, state)
    assert page.is_enabled("#file")


def test_too_little_speech(opened, speech):
    samples, rate = soundfile.read(speech.data[0])
    loud = int(np.argmax(np.convolve(samples**2, np.ones(rate // 2), "valid")))
    page = opened()
    choose(page, "short.wav", wav(np.pad(samples[loud : loud + rate // 2], rate // 2), rate))
    reach(page, "short")
    assert "too short for a score" in page.inner_text("#rows")
    assert page.inner_text("#score-words") != ""


def test_busy_service(opened, speech):
    page = opened()
    body = {"error": {"code": "busy", "message": "9 others wait. Try again in a moment."}}
    page.route("**/v1/score", lambda route: route.fulfill(status=503, json=body))
    choose(page, "voice.wav", Path(speech.data[0]).read_bytes())
    reach(page, "busy")
    assert "9 others wait" in page.inner_text("#status")
    page.unroute("**/v1/score")
    page.click("#status-action")
    reach(page, "done")


def test_no_connection(opened, speech):
    page = opened()
    page.route("**/v1/score", lambda route: route.abort())
    choose(page, "voice.wav", Path(speech.data[0]).read_bytes())
    reach(page, "connection")
    page.route("**/v1/model", lambda route: route.abort())
    page.reload()
    reach(page, "connection")
    page.unroute_all()
    page.click("#status-action")
    reach(page, "ready")


@pytest.mark.parametrize(
    ("error", "state"),
    [
        ({"type": "error", "code": "too_many_streams", "message": "20 are open."}, "busy"),
        ({"type": "error", "code": "failed", "message": "The model failed."}, "refused"),
        (None, "connection"),
    ],
)
@pytest.mark.parametrize("after", [False, True])
def test_broken_stream(opened, error, state, after):
    """What was recorded until then can be played."""

    def answer(socket):
        def on_message(message):
            if after and isinstance(message, str):
                socket.send('{"type": "ready", "levels": [-1, 0, 1]}')
            else:
                if error:
                    socket.send(json.dumps(error))
                socket.close()

        socket.on_message(on_message)

    page = opened(permissions=["microphone"])
    page.route_web_socket("**/v1/stream", answer)
    page.click("#record")
    reach(page, state)
    assert page.is_enabled("#record")
    assert page.is_visible("#player") == after


def test_token(opened, pool, speech):
    with listening(pool, token="right") as address:
        page = opened(at=f"http://{address}/", permissions=["microphone"])
        for given, state in (("wrong", "token"), ("right", "done")):
            page.fill("#token", given)
            page.keyboard.press("Enter")
            reach(page, "ready")
            choose(page, "voice.wav", Path(speech.data[0]).read_bytes())
            reach(page, state)
        page.click("#record")
        reach(page, "listening")
        assert page.evaluate("Object.keys(localStorage).length + document.cookie.length") == 0
        page.click("#record")
        page.wait_for_selector(
            "body:is([data-state=nobody], [data-state=short], [data-state=done])"
        )
        page.context.close()


def test_card_is_text(opened):
    """Whatever a card holds, it is shown and does not run."""
    card = (
        '---\nlicense: x\n---\n# A card\n\n<img src=x onerror="window.ran = 1"> & **bold**\n\n'
        "| a \\| b | c |\n| --- | --- |\n| &lt;script> | 2 |\n\n"
        "[bad](javascript:window.ran=1) and [good](https://example.org/) and\n\n- `x < y`\n"
    )

    def change(route):
        route.fulfill(json=route.fetch().json() | {"card": card})

    page = opened(permissions=[])
    page.route("**/v1/model", change)
    page.reload()
    reach(page, "ready")
    page.click("summary")
    text = page.inner_text("#card-text")
    assert '<img src=x onerror="window.ran = 1"> & bold' in text and "license" not in text
    assert page.locator("#card-text :is(img, script)").count() == 0
    assert page.locator("#card-text a").evaluate_all("all => all.map(a => a.href)") == [
        "https://example.org/"
    ]
    assert page.locator("#card-text th").all_inner_texts() == ["a | b", "c"]
    assert page.locator("#card-text td").all_inner_texts() == ["<script>", "2"]
    assert page.inner_text("#card-text strong") == "bold"
    assert page.evaluate("window.ran") is None


@pytest.mark.skipif(not AXE.exists(), reason="needs axe-core: npm install axe-core")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_accessibility(opened, speech, scheme, width):
    page = opened(color_scheme=scheme, viewport={"width": width, "height": 800})
    serious = faults(page)
    choose(page, "voice.wav", Path(speech.data[0]).read_bytes())
    reach(page, "done")
    page.click("summary")
    serious += faults(page)
    choose(page, "empty.wav", b"")
    reach(page, "empty")
    assert serious + faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def faults(page):
    """Serious and critical faults that axe-core finds."""
    found = page.evaluate(f"{AXE.read_text()}; axe.run()")
    return [
        (each["id"], [node["html"] for node in each["nodes"]])
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]


def test_nothing_comes_from_elsewhere(opened, address, speech):
    asked = []
    page = opened()
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    reach(page, "ready")
    choose(page, "voice.wav", Path(speech.data[0]).read_bytes())
    reach(page, "done")
    assert f"{address}v1/timeline" in asked
    assert [url for url in asked if not url.startswith((address, f"blob:{address}"))] == []


def test_files_of_the_page():
    """Each file is used, and all of them are in the package."""
    texts = {path.name: path.read_text() for path in PAGE.iterdir()}
    named = {
        name for text in texts.values() for name in re.findall(r'[/"](\w+\.(?:js|css|svg))"', text)
    }
    assert named | {"index.html"} == set(texts)
    assert '"serve/page/*"' in (ROOT / "pyproject.toml").read_text()

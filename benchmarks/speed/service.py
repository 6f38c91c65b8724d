"""The service under load on this machine: every answer compared with the offline one.

    python -m benchmarks.speed.service --out results/speed_service.json

``speechsent serve`` is started with small, fitted on every fourth recording of RAVDESS, and gets
three loads one after the other: live streams with step=1, as many as two cores carry; 50 streams
with step=5; and 200 recordings from 20 clients. Streams are utterances of RAVDESS with pauses of
their own room, in chunks of 100 ms as they would be spoken. The delay of a final score counts from
the moment at which the chunk was sent that brings it offline. Memory is what belongs to the
processes of the service alone. Clients and service share the cores.
"""

import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import psutil
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from benchmarks.speed.streaming import RATE, audio, fitted
from experiments._harness.command import make_parser
from experiments._harness.tables import save, table_of

CHUNK = RATE // 10
#: Signals that streams send, in turns.
SIGNALS = 4
TOLERANCE = 1e-5


def signals(seconds):
    """Signals of a length in seconds, each of other utterances."""
    whole = audio(round(SIGNALS * seconds / 3))
    return [part[: int(seconds * RATE)] for part in np.array_split(whole, SIGNALS)]


def followed(pipeline, signal, step):
    """Events offline, each with the chunk that brings it."""
    from sklearn_speechsent import StreamingSentiment
    from sklearn_speechsent.inference.events import event_as_dict

    stream, found = StreamingSentiment(pipeline, step=step), []
    for k, first in enumerate(range(0, len(signal), CHUNK)):
        found += [(k, event_as_dict(e)) for e in stream.push(signal[first : first + CHUNK])]
    return found + [(k, event_as_dict(event)) for event in stream.finish()]


def same(one, other):
    """Whether two events are the same, numbers of networks to 1e-5."""
    names = ("expected", "probabilities")
    exact = [{k: v for k, v in each.items() if k not in names} for each in (one, other)]
    numbers = [
        np.array([each.get(k) for k in names if k in each][-1:], float) for each in (one, other)
    ]
    return exact[0] == exact[1] and np.allclose(*numbers, rtol=0, atol=TOLERANCE, equal_nan=True)


async def stream(address, signal, expected, step, result, wait):
    """One live client: what it gets is counted and compared."""
    await asyncio.sleep(wait)
    sent, found = [], []
    try:
        async with connect(f"ws://{address}/v1/stream", open_timeout=60) as socket:
            hello = {"sample_rate": RATE, "format": "s16le", "step": step}
            await socket.send(json.dumps(hello))
            answer = json.loads(await socket.recv())
            if answer["type"] != "ready":
                result["statuses"][answer["code"]] += 1
                return

            async def hear():
                async for message in socket:
                    found.append((time.perf_counter(), json.loads(message)))

            hearing = asyncio.create_task(hear())
            start = time.perf_counter()
            for first in range(0, len(signal), CHUNK):
                due = start + (first + CHUNK) / RATE
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                await socket.send(signal[first : first + CHUNK].tobytes())
                sent.append(time.perf_counter())
            await socket.send('{"type": "finish"}')
            await hearing
    except (ConnectionClosed, OSError, TimeoutError) as error:
        result["statuses"][type(error).__name__] += 1
        return
    result["statuses"][found[-1][1]["type"]] += 1
    found.pop()
    left = [each for each in expected if each[1].get("final", True)]
    wanted = {(e["type"], e.get("end"), e.get("final"), e["utterance"]): e for _, e in expected}
    for came, event in found:
        key = (event["type"], event.get("end"), event.get("final"), event["utterance"])
        result["wrong"] += key not in wanted or not same(event, wanted[key])
        if event.get("final", True):
            k, offline = left.pop(0)
            result["wrong"] += not same(event, offline)
            if event["type"] == "Score":
                result["delays"].append(came - sent[k])
    result["wrong"] += len(left)
    n_wanted = sum(event.get("final") is False for _, event in expected)
    n_found = sum(event.get("final") is False for _, event in found)
    result["provisional"] += n_wanted
    result["dropped"] += n_wanted - n_found


async def request(client, url, content, expected, result):
    """One upload: its answer is counted and compared."""
    start = time.perf_counter()
    answer = await client.post(url, files={"file": ("a.wav", content)})
    result["statuses"][answer.status_code] += 1
    if answer.status_code == 200:
        result["delays"].append(time.perf_counter() - start)
        given = answer.json()["probabilities"]
        result["wrong"] += not np.allclose(given, expected, rtol=0, atol=TOLERANCE)


async def requests(address, files, expected, n_clients, result):
    """Clients that send the files in turns, each the next one when it has an answer."""
    work = iter(zip(files, expected, strict=True))
    async with httpx.AsyncClient(timeout=600) as client:

        async def one():
            for content, proba in work:
                await request(client, f"http://{address}/v1/score", content, proba, result)

        await asyncio.gather(*(one() for _ in range(n_clients)))


def memory(service):
    """MiB that belong to the service alone."""
    processes = [service, *service.children()]
    return sum(each.memory_full_info().uss for each in processes) / 2**20


async def measured(service, load):
    """What a load counts, the memory of the service before and after it, and its processor time."""
    result = {"statuses": Counter(), "wrong": 0, "delays": [], "provisional": 0, "dropped": 0}
    processes = [service, *service.children()]
    used = [sum(sum(each.cpu_times()[:2]) for each in processes)]
    result["memory"], start = [memory(service)], time.perf_counter()
    await load(result)
    result["seconds"] = time.perf_counter() - start
    used.append(sum(sum(each.cpu_times()[:2]) for each in processes))
    result["memory"].append(memory(service))
    result["cores"] = (used[1] - used[0]) / result["seconds"]
    return result


def report(results):
    """Lines of the table."""
    rows = []
    for name, each in results.items():
        statuses = ", ".join(f"{status}: {n}" for status, n in sorted(each["statuses"].items()))
        delays = np.quantile(each["delays"], [0.5, 0.95, 0.99]) if each["delays"] else []
        rows.append(
            [
                name,
                statuses,
                str(each["wrong"]),
                f"{each['dropped']} of {each['provisional']}",
                " / ".join(f"{1000 * delay:.0f}" for delay in delays) + " ms",
                " to ".join(f"{mib:.0f}" for mib in each["memory"]) + " MiB",
                f"{each['cores']:.2f}",
            ]
        )
    heads = ["load", "answers", "wrong", "provisional scores left out"]
    heads += ["delay: median / 95 % / 99 %", "memory, before to after", "cores of the service"]
    return table_of(heads, rows)


def main():
    """Measure, print and write."""
    parser = make_parser(__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the streams (60)")
    parser.add_argument("--streams", type=int, nargs="+", default=[15], help="with step=1 (15)")
    parser.add_argument("--workers", type=int, default=2, help="of each kind (2)")
    args = parser.parse_args()

    from sklearn_speechsent import save_model
    from sklearn_speechsent.datasets import load_ravdess

    pipeline = fitted("small", "float32", str(args.out.with_suffix(".cache").resolve()))
    sent = signals(args.seconds)
    offline = {step: [followed(pipeline, each, step) for each in sent] for step in (1.0, 5.0)}
    paths = load_ravdess().data[:1200:6]
    expected = pipeline.predict_proba(paths)
    files = [Path(path).read_bytes() for path in paths]
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        bundle = save_model(pipeline, Path(folder) / "small.zip")
        command = [sys.executable, "-m", "sklearn_speechsent.cli", "serve", str(bundle)]
        command += ["--port", "0", "--workers", str(args.workers), "--max-streams", "60"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        try:
            address = re.search(r"at http://(\S+);", process.stderr.readline().decode())[1]
            service = psutil.Process(process.pid)

            def live(n, step):
                async def load(result):
                    clients = (
                        stream(address, sent[k % SIGNALS], offline[step][k % SIGNALS], step, result,
                               k / n)
                        for k in range(n)
                    )  # fmt: skip
                    await asyncio.gather(*clients)

                return load

            loads = {f"{n} streams, step=1": live(n, 1.0) for n in args.streams}
            loads["50 streams, step=5"] = live(50, 5.0)
            loads["200 recordings, 20 clients"] = lambda result: requests(
                address, files, expected, 20, result
            )
            for name, load in loads.items():
                results[name] = asyncio.run(measured(service, load))
                save(args.out, results, report(results))
        finally:
            process.terminate()
            process.wait(60)


if __name__ == "__main__":
    main()

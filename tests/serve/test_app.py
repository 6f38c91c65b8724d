"""The application without processes: settings, other sites, failures."""

import asyncio

import httpx
import pytest

from sklearn_speechsent.serve import Settings
from sklearn_speechsent.serve.app import make_app
from sklearn_speechsent.serve.metrics import Metrics
from sklearn_speechsent.serve.pool import Pool
from sklearn_speechsent.serve.stream import Backlog

SITE = "https://friend.example"


def asked(pool, method, path, **options):
    transport = httpx.ASGITransport(make_app(pool, Metrics()), raise_app_exceptions=False)

    async def ask():
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.request(method, path, **options)

    return asyncio.run(ask())


@pytest.mark.parametrize(("origins", "allowed"), [((), False), ((SITE,), True), (("*",), True)])
def test_other_sites(origins, allowed):
    pool = Pool("none", Settings(origins=origins))
    asks = {"origin": SITE, "access-control-request-method": "POST"}
    answer = asked(pool, "OPTIONS", "/v1/score", headers=asks)
    assert ("access-control-allow-origin" in answer.headers) is allowed
    answer = asked(pool, "POST", "/v1/score", headers={"origin": SITE}, content=b"x")
    assert answer.status_code == (415 if allowed else 403)
    answer = asked(pool, "POST", "/v1/score", headers={"origin": "http://service"}, content=b"x")
    assert answer.status_code == 415


def test_not_ready():
    answer = asked(Pool("none", Settings()), "GET", "/readyz")
    assert answer.status_code == 503 and answer.json() == {"status": "not ready"}


def test_a_failure_of_the_service_tells_nothing(monkeypatch):
    pool = Pool("none", Settings())
    monkeypatch.setattr(pool, "place", lambda: 1 / 0)
    answer = asked(pool, "POST", "/v1/score", content=b"x")
    assert answer.status_code == 500
    assert answer.json() == {"error": {"code": "failed", "message": "The service failed."}}


def test_closing():
    pool = Pool("none", Settings())
    pool.close()
    answer = asked(pool, "POST", "/v1/score", content=b"x")
    assert answer.status_code == 503 and answer.json()["error"]["code"] == "closing"
    assert answer.headers["retry-after"] == "5"


def test_who_is_behind():
    """Late is who was heard long ago, and not who sends faster than anybody speaks."""
    at_once = Backlog(rate=10, width=2)
    at_once.add(bytes(20 * 30), now=100.0)  # half a minute
    assert at_once.late(100.0) == 0
    for second in range(1, 30):  # scored twice as fast as it was spoken
        at_once.take()
        assert at_once.late(100.0 + second / 2) == 0
    live = Backlog(rate=10, width=2)
    for second in range(30):
        live.add(bytes(20), now=100.0 + second)
    assert live.late(129.0) == 28.0
    for _ in range(29):
        live.take()
    assert live.late(129.0) == 0 and len(live) == 20

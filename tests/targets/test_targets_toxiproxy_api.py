"""What reaches the Toxiproxy server through toxiproxy-python, and what becomes of its answers."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter

from targets.base import Address, TargetError, Toxic
from targets.toxiproxy.api import Api, NoAnswerError, NotThereError

TOXIC = Toxic("slow", "latency", "downstream", 0.5, {"latency": 100, "jitter": 10})


@dataclass
class FakeServer(BaseAdapter):
    """Answers every call alike, and remembers it."""

    status: int = 200
    document: Any = field(default_factory=dict)
    error: Exception | None = None
    seen: list[tuple[str, str, Any]] = field(default_factory=list)
    deadlines: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Take one call."""
        self.seen.append((str(request.method), str(request.url), json.loads(request.body or "null")))
        self.deadlines.append(options["timeout"])
        if self.error is not None:
            raise self.error
        answer = requests.Response()
        answer.status_code = self.status
        answer._content = json.dumps(self.document).encode()
        return answer

    def close(self) -> None:
        """Nothing is open."""


def api(server: FakeServer, port: int = 8474) -> Api:
    it = Api(Address("127.0.0.1", port), deadline=1.5)
    it._session.mount("http://", server)
    return it


def test_names_are_escaped_and_the_deadline_is_set() -> None:
    """The `>` of an edge is escaped in the URL, and every call has the deadline."""
    server = FakeServer()
    api(server).add_toxic("orders->payments-2", TOXIC)
    assert server.seen == [
        (
            "POST",
            "http://127.0.0.1:8474/proxies/orders-%3Epayments-2/toxics",
            {
                "name": "slow",
                "type": "latency",
                "stream": "downstream",
                "toxicity": 0.5,
                "attributes": {"latency": 100, "jitter": 10},
            },
        )
    ]
    assert server.deadlines == [1.5]


def test_two_servers_in_one_process_are_kept_apart() -> None:
    """Each client talks to its own server, although the library has one address for all."""
    first, second = FakeServer(document={}), FakeServer(document={})
    one, two = api(first, 1111), api(second, 2222)
    one.proxies(), two.proxies(), one.proxies()
    assert [url for _, url, _ in first.seen] == ["http://127.0.0.1:1111/proxies"] * 2
    assert [url for _, url, _ in second.seen] == ["http://127.0.0.1:2222/proxies"]


def test_the_environments_proxy_is_not_used() -> None:
    """HTTP_PROXY is not for loopback."""
    assert Api(Address("127.0.0.1", 1))._session.trust_env is False


def test_every_call_goes_where_the_server_expects_it() -> None:
    """Methods and paths of the calls, the missing ones of the library included."""
    server = FakeServer()
    it = api(server)
    it.remove_toxic("a", "slow")
    it.update_toxic("a", TOXIC)
    it.set_enabled("a", False)
    it.set_enabled("a", True)
    it.delete("a")
    it.populate([{"name": "a"}])
    base = "http://127.0.0.1:8474"
    assert server.seen == [
        ("DELETE", f"{base}/proxies/a/toxics/slow", None),
        ("POST", f"{base}/proxies/a/toxics/slow", {"toxicity": 0.5, "attributes": {"latency": 100, "jitter": 10}}),
        ("POST", f"{base}/proxies/a", {"enabled": False}),
        ("POST", f"{base}/proxies/a", {"enabled": True}),
        ("DELETE", f"{base}/proxies/a", None),
        ("POST", f"{base}/populate", [{"name": "a"}]),
    ]


def test_toxics_come_back_as_they_went_in() -> None:
    """A toxic of the server is the toxic that was added."""
    document = [{"name": "slow", "type": "latency", "stream": "downstream", "toxicity": 0.5} | {
        "attributes": {"latency": 100, "jitter": 10}
    }]  # fmt: skip
    assert api(FakeServer(document=document)).toxics("a") == {"slow": TOXIC}


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, TargetError), (404, NotThereError), (409, TargetError), (500, TargetError), (503, NoAnswerError)],
)
def test_every_refusal_is_an_error_with_the_servers_words(status: int, kind: type[TargetError]) -> None:
    """No status from 400 on is taken for success; the message has the server's reason, the hint what to do."""
    with pytest.raises(kind) as error:
        api(FakeServer(status=status, document={"error": "because"})).populate([])
    assert type(error.value) is kind
    assert f"{status}" in str(error.value)
    assert "because" in str(error.value)
    assert error.value.hint


@pytest.mark.parametrize("cause", [requests.ConnectionError("refused"), requests.ReadTimeout("late")])
def test_silence_is_an_error_of_its_own(cause: Exception) -> None:
    """A server that is gone or late is told from one that refuses."""
    with pytest.raises(NoAnswerError):
        api(FakeServer(error=cause)).delete("a")

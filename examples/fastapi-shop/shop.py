"""A shop of somebody's: it asks a stock service, and says so when it does not know the stock."""

import os

import httpx
from fastapi import FastAPI, Response

app = FastAPI()
stock = httpx.AsyncClient(base_url=os.environ["STOCK_URL"], timeout=float(os.environ.get("STOCK_TIMEOUT", "0.1")))


@app.get("/")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/items/{item}")
async def show(item: int, response: Response) -> dict[str, int | None]:
    try:
        answer = await stock.get(f"/stock/{item}")
        answer.raise_for_status()
    except httpx.HTTPError:
        response.headers["x-squall-outcome"] = "degraded"  # an answer, but not the whole one
        return {"item": item, "stock": None}
    return {"item": item, "stock": answer.json()}

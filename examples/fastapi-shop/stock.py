"""The stock service that the shop cannot do without, or can it?"""

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/stock/{item}")
async def count(item: int) -> int:
    return item % 5

"""The documents that media begins with: `media-0` to `media-99`, each about 40 kB of text, the same every time."""

import random
from pathlib import Path
from typing import Final

from targets.mesh.services.shelf import Shelf

DOCUMENTS: Final = 100
SIZE: Final = 40_000  # bytes
_WORDS: Final = (
    "gust",
    "squall",
    "lull",
    "breeze",
    "storm",
    "calm",
    "swell",
    "surge",
    "drift",
    "eddy",
    "front",
    "haze",
)


def text(number: int) -> bytes:
    """Return the content of document `media-<number>`."""
    rng = random.Random(number)
    words = " ".join(rng.choices(_WORDS, k=SIZE // 5))
    return words.encode()[:SIZE]


def seed_media(data_dir: Path) -> None:
    """Store the documents that are not there yet."""
    shelf = Shelf(data_dir)
    for number in range(DOCUMENTS):
        name = f"media-{number}"
        if shelf.get(name, plain=False) is None:
            shelf.put(name, text(number), "text/plain")

"""What the containers of a project write, each into a file of its own, as long as they are up."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Final

import anyio

from targets.compose.composing import kill_family

_LONGEST: Final = 1 << 20  # bytes of a line; a longer one is cut
_BAR: Final = b" | "


@asynccontextmanager
async def followed(
    argv: Sequence[str], environment: Mapping[str, str], files: Mapping[str, Path]
) -> AsyncIterator[None]:
    """Follow `docker compose logs` until it is left; `files` has a file for each name that stands before a line."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=dict(environment),
        limit=_LONGEST,
        start_new_session=True,
    )
    assert process.stdout is not None
    reader = asyncio.create_task(_sort(process.stdout, files))
    try:
        yield
    finally:
        kill_family(process)
        with anyio.CancelScope(shield=True):
            await process.wait()
            await reader


async def _sort(lines: asyncio.StreamReader, files: Mapping[str, Path]) -> None:
    opened: dict[str, BinaryIO] = {}
    try:
        while line := await _line(lines):
            name, found, text = line.partition(_BAR)
            known = name.strip().decode(errors="replace")
            if found and known in files:
                if known not in opened:
                    opened[known] = files[known].open("ab", buffering=0)
                opened[known].write(text)
    finally:
        for file in opened.values():
            file.close()


async def _line(lines: asyncio.StreamReader) -> bytes:
    while True:
        try:
            return await lines.readline()
        except ValueError:  # longer than the limit: its beginning is dropped by asyncio
            continue

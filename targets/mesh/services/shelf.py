"""A folder of documents: `objects/ab/abcd...` hold the content, compressed; `names/<name>` say which one a name means.

Every file is written under another name and renamed: a reader never sees half of one, whoever dies.
"""

import hashlib
import os
import re
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
import zstandard

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
LEVEL = 3


@dataclass(frozen=True, slots=True)
class Document:
    """What a name means."""

    sha256: str  # of the content before compression
    size: int  # bytes before compression
    content_type: str


class Shelf:
    """Documents by name. Calls block on the disk; an `OSError` is the disk's."""

    def __init__(self, folder: Path) -> None:
        self._objects = folder / "objects"
        self._names = folder / "names"
        self._names.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def allows(name: str) -> bool:
        """Tell whether a name may be a file's."""
        return _NAME.fullmatch(name) is not None

    def put(self, name: str, content: bytes, content_type: str) -> Document:
        """Store content under a name; content that is there already is not written again."""
        document = Document(hashlib.sha256(content).hexdigest(), len(content), content_type)
        path = self._object(document.sha256)
        if not path.exists():
            _write(path, zstandard.ZstdCompressor(level=LEVEL).compress(content))
        _write(self._names / name, orjson.dumps(asdict(document)))
        return document

    def get(self, name: str, *, plain: bool) -> tuple[Document, bytes] | None:
        """Return a document with its content, compressed unless `plain`; None when there is none of that name."""
        try:
            document = Document(**orjson.loads((self._names / name).read_bytes()))
        except FileNotFoundError:
            return None
        stored = self._object(document.sha256).read_bytes()
        return document, zstandard.ZstdDecompressor().decompress(stored) if plain else stored

    def _object(self, sha256: str) -> Path:
        return self._objects / sha256[:2] / f"{sha256}.zst"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)

"""media: documents, compressed and content-addressed, in a folder that both instances share.

`PUT /media/{id}` answers 201 with the document's digest, `GET /media/{id}` the document. A client that accepts `zstd`
gets it as stored.
"""

import asyncio
from pathlib import Path

from aiohttp import web

from targets.mesh.kit.app import Kit, json_response, new_application
from targets.mesh.kit.refusals import BadRequest, DependencyFailed, NotFound
from targets.mesh.services.shelf import Document, Shelf


class Media:
    """Stores and fetches documents."""

    def __init__(self, kit: Kit) -> None:
        assert kit.config.data_dir is not None, "media needs a data_dir"
        self._kit = kit
        self._shelf = Shelf(Path(kit.config.data_dir))

    async def put(self, request: web.Request) -> web.Response:
        """Store a document under a name."""
        name = _name(request)
        content = await request.read()
        try:
            document = await asyncio.to_thread(self._shelf.put, name, content, request.content_type)
        except OSError as error:
            raise self._disk_failed(error) from error
        return json_response({"id": name, "sha256": document.sha256, "bytes": document.size}, 201)

    async def get(self, request: web.Request) -> web.Response:
        """Fetch a document by its name."""
        name = _name(request)
        plain = not accepts_zstd(request.headers.get("accept-encoding", ""))
        try:
            found = await asyncio.to_thread(self._shelf.get, name, plain=plain)
        except OSError as error:
            raise self._disk_failed(error) from error
        if found is None:
            raise NotFound(f"no document {name}")
        document, body = found
        tag = f'"{document.sha256}"'
        if tag in request.headers.get("if-none-match", ""):
            return web.Response(status=304, headers={"ETag": tag})
        return _answer(document, body, tag, plain=plain)

    def _disk_failed(self, error: OSError) -> DependencyFailed:
        self._kit.log.trouble("disk", "error", error=type(error).__name__, detail=error.strerror)
        return DependencyFailed(f"the disk failed: {error.strerror}")


def accepts_zstd(accepted: str) -> bool:
    """Tell whether an Accept-Encoding header allows zstd; `zstd;q=0` forbids it."""
    codings = dict(part.replace(" ", "").lower().partition(";")[::2] for part in accepted.split(","))
    quality = codings.get("zstd", "q=0").removeprefix("q=") or "1"
    return quality.strip("0.") != ""


def _name(request: web.Request) -> str:
    name = request.match_info["id"]
    if not Shelf.allows(name):
        raise BadRequest("a name is 1 to 100 letters, digits, `-`, `_` and `.`, and does not begin with a dot")
    return name


def _answer(document: Document, body: bytes, tag: str, *, plain: bool) -> web.Response:
    headers = {"ETag": tag, "Vary": "Accept-Encoding", "Content-Type": document.content_type}
    if not plain:
        headers["Content-Encoding"] = "zstd"
    return web.Response(body=body, headers=headers)


def build(kit: Kit) -> web.Application:
    """Return the web application."""
    application = new_application(kit)
    media = Media(kit)
    application.router.add_put("/media/{id}", media.put)
    application.router.add_get("/media/{id}", media.get)
    return application

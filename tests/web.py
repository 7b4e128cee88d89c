"""A web server on this machine that misbehaves as asked."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(kw_only=True)
class Site:
    """What is served, and how.

    Args:
        files: content by path, without the leading slash.
        ranges: whether `Range` is honoured.
        etag: sent with every file, and compared with `If-Range`.
        drop_after: bytes after which the connection is closed, one entry per request; none when used up.
        failures: status codes sent instead, one entry per request; none when used up.
        length: whether `Content-Length` is sent.
        requests: (path, Range header or "") of each request so far.
    """

    files: dict[str, bytes]
    ranges: bool = True
    etag: str = '"one"'
    drop_after: list[int] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    length: bool = True
    requests: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""


@contextmanager
def serve(site: Site) -> Iterator[Site]:
    """Serve a site on 127.0.0.1 until the block ends; its `url` is filled in."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(self, site)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _answer(handler: BaseHTTPRequestHandler, site: Site) -> None:
    path, range_ = handler.path.lstrip("/"), handler.headers.get("Range", "")
    site.requests.append((path, range_))
    handler.close_connection = True
    if site.failures:
        handler.send_error(site.failures.pop(0))
        return
    if path not in site.files:
        handler.send_error(404)
        return
    content, start = site.files[path], 0
    fresh = handler.headers.get("If-Range", site.etag) == site.etag
    if site.ranges and fresh and (found := re.fullmatch(r"bytes=(\d+)-", range_)):
        start = int(found[1])
        if start >= len(content):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(content)}")
            handler.end_headers()
            return
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    else:
        handler.send_response(200)
    if site.length:
        handler.send_header("Content-Length", str(len(content) - start))
    handler.send_header("ETag", site.etag)
    handler.end_headers()
    stop = start + site.drop_after.pop(0) if site.drop_after else len(content)
    handler.wfile.write(content[start:stop])

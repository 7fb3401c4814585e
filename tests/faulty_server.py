"""A real HTTP server on loopback that misbehaves on demand, one fault a request."""

import hashlib
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass(frozen=True)
class Fault:
    """What one answer does wrong; the defaults do nothing wrong.

    Attributes:
        status: answer with this status and no content.
        headers: extra headers of the answer.
        drop_after: close the connection after so many bytes of the body.
        stall_after: send nothing more after so many bytes, until the server ends.
        content: bytes in place of the right ones.
        ignore_range: answer 200 with everything where a range was asked for.
        shift_range: answer with a range that begins so many bytes later than asked.
        hide_length: send no Content-Length.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    drop_after: int | None = None
    stall_after: int | None = None
    content: bytes | None = None
    ignore_range: bool = False
    shift_range: int = 0
    hide_length: bool = False


class FaultyServer:
    """Serves ``files`` (path without leading slash to bytes); ``faults[path]`` are used up one a request.

    Attributes:
        address: base address, such as http://127.0.0.1:40000.
        requests: path and Range header of every request, in order.
    """

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files = dict(files or {})
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.requests: list[tuple[str, str | None]] = []
        self.ended = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def asked(self, path: str) -> list[str | None]:
        """The Range headers of the requests for a path."""
        return [range_ for requested, range_ in self.requests if requested == path]


def _handler(server: FaultyServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.lstrip("/")
            range_ = self.headers.get("Range")
            server.requests.append((path, range_))
            fault = server.faults[path].pop(0) if server.faults[path] else Fault()
            content = server.files.get(path) if fault.content is None else fault.content
            if fault.status is not None or content is None:
                self._answer(fault.status or 404, fault, b"")
                return
            etag = f'"{hashlib.md5(content).hexdigest()}"'
            begin = int(range_.removeprefix("bytes=").rstrip("-")) if range_ else 0
            if not range_ or fault.ignore_range or self.headers.get("If-Range", etag) != etag:
                self._answer(200, fault, content, ETag=etag)
            elif begin >= len(content):
                self._answer(416, fault, b"")
            else:
                begin += fault.shift_range
                span = f"bytes {begin}-{len(content) - 1}/{len(content)}"
                self._answer(206, fault, content[begin:], ETag=etag, **{"Content-Range": span})

        def _answer(self, status: int, fault: Fault, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in {**headers, **fault.headers}.items():
                self.send_header(name, value)
            if not fault.hide_length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            cut = next((n for n in (fault.drop_after, fault.stall_after) if n is not None), None)
            try:
                self.wfile.write(body[:cut])
            except ConnectionError:
                return  # the client went away
            if fault.stall_after is not None:
                server.ended.wait()

        def log_message(self, *_: object) -> None:
            pass

    return Handler

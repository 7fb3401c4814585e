"""A real HTTP server on loopback that misbehaves on demand, one fault a request."""

import hashlib
import ssl
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass(frozen=True)
class Fault:
    """What one answer does wrong; the defaults do nothing wrong.

    Attributes:
        status: answer with this status and no content.
        headers: extra headers of the answer, several of one name as a list.
        drop_after: close the connection after so many bytes of the body.
        stall_after: send nothing more after so many bytes, until the server ends.
        content: bytes in place of the right ones.
        ignore_range: answer 200 with everything where a range was asked for.
        shift_range: answer with a range that begins so many bytes later than asked.
        hide_length: send no Content-Length.
        ignore_if_range: answer with the range even if the file is another by now.
        unversioned: send no ETag.
        chunked: send the body in chunks, and no Content-Length.
        endless: send the body again and again.
        trickle: bytes sent at a time, and the pause in seconds after them.
    """

    status: int | None = None
    headers: dict[str, str | list[str]] = field(default_factory=dict)
    drop_after: int | None = None
    stall_after: int | None = None
    content: bytes | None = None
    ignore_range: bool = False
    shift_range: int = 0
    hide_length: bool = False
    ignore_if_range: bool = False
    unversioned: bool = False
    chunked: bool = False
    endless: bool = False
    trickle: tuple[int, float] | None = None

    def pieces(self, body: bytes) -> Iterator[bytes]:
        """The body as it is sent."""
        cut = next((n for n in (self.drop_after, self.stall_after) if n is not None), None)
        body = body[:cut]
        size = self.trickle[0] if self.trickle else len(body)
        while True:
            for begin in range(0, len(body), size or 1):
                yield body[begin : begin + size]
            if not self.endless:
                return


class FaultyServer:
    """Serves ``files`` (path without leading slash to bytes); ``faults[path]`` are used up one a request.

    Attributes:
        address: base address, such as http://127.0.0.1:40000.
        requests: path and Range header of every request, in order.
    """

    def __init__(self, files: dict[str, bytes] | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.files = dict(files or {})
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.requests: list[tuple[str, str | None]] = []
        self.ended = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.address = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_port}"
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)

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
                self._answer(fault.status or 404, fault, fault.content or b"")
                return
            etag = f'"{hashlib.md5(content).hexdigest()}"'
            version = {} if fault.unversioned else {"ETag": etag}
            begin = int(range_.removeprefix("bytes=").rstrip("-")) if range_ else 0
            known = {etag, fault.headers.get("Last-Modified", etag)}
            is_same = fault.ignore_if_range or self.headers.get("If-Range", etag) in known
            if not range_ or fault.ignore_range or not is_same:
                self._answer(200, fault, content, **version)
            elif begin >= len(content):
                self._answer(416, fault, b"")
            else:
                begin += fault.shift_range
                span = f"bytes {begin}-{len(content) - 1}/{len(content)}"
                self._answer(206, fault, content[begin:], **version, **{"Content-Range": span})

        def _answer(self, status: int, fault: Fault, body: bytes, **headers: str) -> None:
            self.send_response(status)
            if not (fault.hide_length or fault.chunked or "Content-Length" in fault.headers):
                headers["Content-Length"] = str(len(body))
            if fault.chunked:
                headers["Transfer-Encoding"] = "chunked"
            for name, values in {**headers, **fault.headers}.items():
                for value in [values] if isinstance(values, str) else values:
                    self.send_header(name, value)
            self.end_headers()
            try:
                for piece in fault.pieces(body):
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if fault.chunked else piece)
                    if fault.trickle and server.ended.wait(fault.trickle[1]):
                        return
                if fault.chunked:
                    self.wfile.write(b"0\r\n\r\n")
            except ConnectionError:
                return  # the client went away
            if fault.stall_after is not None:
                server.ended.wait()

        def log_message(self, *_: object) -> None:
            pass

    return Handler

"""Sources on a faulty server, and little patience with it."""

import hashlib
import random

from faulty_server import FaultyServer
from spandex.data.catalog import Source
from spandex.data.transfer import Retry

CONTENT = random.Random(1).randbytes(1_000_000)
QUICK = Retry(attempts=4, pause_s=0.01, timeout_s=(2.0, 0.5))


def file_source(server: FaultyServer, content: bytes = CONTENT, name: str = "speech.tar", **fields) -> Source:
    """A source on the server whose published size and checksums are those of ``content``."""
    server.files.setdefault(name, content)
    fields = {
        "size": len(content),
        "checksums": (f"md5:{hashlib.md5(content).hexdigest()}", f"sha256:{hashlib.sha256(content).hexdigest()}"),
    } | fields
    address = f"{server.address}/{name}"
    return Source(name=name, role="test", address=address, file=f"a/{name}", licence="-", citation="-", **fields)


def unpublished(server: FaultyServer, **fields) -> Source:
    return file_source(server, size=None, checksums=(), note="nothing is published", **fields)

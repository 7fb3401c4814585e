"""What servers do to one file, and what becomes of it."""

import datetime
import gzip
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from downloads import CONTENT, QUICK, file_source, unpublished
from faulty_server import Fault, FaultyServer
from spandex.data.download import fetch
from spandex.data.transfer import Retry, UnreachableError, WrongBytesError

STALLS = Retry(attempts=3, pause_s=0.01, timeout_s=(2.0, 2.0), stall_s=0.3)
HALF_A_KILOBYTE = (10, 0.02)  # a second
MONDAY, TUESDAY = "Mon, 06 Jan 2025 10:00:00 GMT", "Tue, 07 Jan 2025 10:00:00 GMT"


def refusal(error: pytest.ExceptionInfo) -> str:
    """The message, which is one line."""
    assert "\n" not in str(error.value)
    return str(error.value)


# more than was promised


@pytest.mark.parametrize("form", [{"hide_length": True}, {"chunked": True}])
def test_answer_without_an_end_is_cut_at_the_published_size(server, tmp_path, form):
    item = file_source(server)
    server.faults[item.name] = [Fault(endless=True, **form)] * 2
    with pytest.raises(WrongBytesError, match="expected 1000000 bytes, the server sends more") as error:
        fetch([item], tmp_path, retry=QUICK)
    assert item.address in refusal(error)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > 1000]


def test_partial_answer_without_an_end_is_cut_at_the_size_of_its_range(server, tmp_path):
    item = unpublished(server)
    server.faults[item.name] = [Fault(drop_after=300_000), Fault(endless=True, chunked=True)]
    assert fetch([item], tmp_path, retry=QUICK)[item.name].read_bytes() == CONTENT
    assert server.asked(item.name) == [None, "bytes=300000-", None]


# too slow


@pytest.mark.parametrize("form", [{}, {"hide_length": True}, {"chunked": True}])
def test_trickle_is_a_stall_and_is_tried_again(server, tmp_path, form, caplog):
    caplog.set_level("INFO")
    item = file_source(server)
    server.faults[item.name] = [Fault(trickle=HALF_A_KILOBYTE, **form)]
    assert fetch([item], tmp_path, retry=STALLS)[item.name].read_bytes() == CONTENT
    assert len(server.requests) == 2
    assert f"{item.address}: stalled, " in caplog.text


def test_server_that_only_trickles_is_given_up(server, tmp_path):
    item = file_source(server)
    server.faults[item.name] = [Fault(trickle=HALF_A_KILOBYTE)] * 100
    with pytest.raises(UnreachableError, match="given up after 3 failures in a row: stalled, "):
        fetch([item], tmp_path, retry=STALLS)
    assert len(server.requests) == 3


def test_server_that_drops_after_every_byte_is_given_up(server, tmp_path):
    item = file_source(server)
    server.faults[item.name] = [Fault(drop_after=1)] * 100
    with pytest.raises(UnreachableError, match="given up after 4 failures in a row: "):
        fetch([item], tmp_path, retry=QUICK)


def test_slow_server_above_the_limit_is_waited_for(server, tmp_path):
    item = file_source(server, CONTENT[:4000])
    server.faults[item.name] = [Fault(trickle=(100, 0.02))]
    assert fetch([item], tmp_path, retry=STALLS)[item.name].read_bytes() == CONTENT[:4000]
    assert len(server.requests) == 1


def test_stall_is_below_a_kilobyte_a_second_for_a_minute():
    assert (Retry().slowest, Retry().stall_s) == (1000.0, 60.0)


# what may be joined


@pytest.mark.parametrize(
    "headers", [{}, {"ETag": 'W/"1"'}, {"ETag": 'W/"1"', "Last-Modified": MONDAY}, {"Last-Modified": MONDAY}]
)
@pytest.mark.parametrize("calls", [1, 2])
def test_file_is_continued_only_if_the_server_tells_its_versions_apart(server, tmp_path, headers, calls):
    item = unpublished(server)
    server.faults[item.name] = [
        Fault(unversioned=True, drop_after=300_000, headers=headers),
        Fault(unversioned=True, headers=headers),
    ]
    if calls == 2:
        with pytest.raises(UnreachableError):
            fetch([item], tmp_path, retry=Retry(attempts=1))
    assert fetch([item], tmp_path, retry=QUICK)[item.name].read_bytes() == CONTENT
    assert server.asked(item.name) == [None, "bytes=300000-" if "Last-Modified" in headers else None]


@pytest.mark.parametrize("before", [{}, {"Last-Modified": MONDAY}, {"ETag": '"1"'}])
@pytest.mark.parametrize("after", [{}, {"Last-Modified": TUESDAY}, {"ETag": '"2"'}])
def test_two_versions_are_not_joined_even_if_the_server_joins_them(server, tmp_path, before, after):
    item = unpublished(server)
    other = Fault(content=CONTENT[::-1], unversioned=True, drop_after=300_000, headers=before)
    server.faults[item.name] = [other, *[Fault(unversioned=True, ignore_if_range=True, headers=after)] * 2]
    assert fetch([item], tmp_path, retry=QUICK)[item.name].read_bytes() == CONTENT


@pytest.mark.parametrize("published", ["size and checksums", "size"])
def test_file_without_version_is_continued_if_something_is_published_of_it(server, tmp_path, published):
    item = file_source(server, **{"checksums": (), "note": "-"} if published == "size" else {})
    server.faults[item.name] = [Fault(unversioned=True, drop_after=300_000), Fault(unversioned=True)]
    assert fetch([item], tmp_path, retry=QUICK)[item.name].read_bytes() == CONTENT
    assert server.asked(item.name) == [None, "bytes=300000-"]


def test_checksum_decides_about_what_was_joined(server, tmp_path, caplog):
    item = file_source(server)
    other = Fault(content=CONTENT[::-1], unversioned=True, drop_after=300_000)
    server.faults[item.name] = [other, Fault(unversioned=True), Fault(unversioned=True)]
    assert fetch([item], tmp_path, retry=QUICK)[item.name].read_bytes() == CONTENT
    assert server.asked(item.name) == [None, "bytes=300000-", None]
    assert "expected md5:" in caplog.text


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"address": 3}', "\0"])
def test_damaged_notes_of_a_download_are_no_notes(server, tmp_path, content):
    item = unpublished(server)
    fetch([item], tmp_path, retry=QUICK)
    (tmp_path / ".verified" / f"{item.file}.json").write_text(content)
    (tmp_path / f"{item.file}.part").write_bytes(b"of something else")
    (tmp_path / f"{item.file}.part.json").write_text(content)
    assert fetch([item], tmp_path, retry=QUICK)[item.name].read_bytes() == CONTENT
    assert server.asked(item.name) == [None, None]


# headers


def test_length_that_stands_twice_is_one(server, tmp_path):
    item = unpublished(server)
    server.faults[item.name] = [Fault(headers={"Content-Length": ["1000000", "1000000"]})]
    assert fetch([item], tmp_path, retry=QUICK)[item.name].read_bytes() == CONTENT


@pytest.mark.parametrize("length", [["1000000", "7"], "7, 1000000", "many", "-7", "1e6", "1_000_000", "", "9" * 5000])
def test_length_that_is_none_is_refused_with_its_value(server, tmp_path, length):
    item = unpublished(server)
    server.faults[item.name] = [Fault(headers={"Content-Length": length})]
    with pytest.raises(UnreachableError) as error:
        fetch([item], tmp_path, retry=QUICK)
    message = refusal(error)
    assert item.address in message
    assert all(value in message for value in ([length] if isinstance(length, str) else length))
    assert len(server.requests) == 1


def test_length_beside_chunks_does_not_count(server, tmp_path):
    item = unpublished(server)
    server.faults[item.name] = [Fault(chunked=True, headers={"Content-Length": "7"})]
    assert fetch([item], tmp_path, retry=QUICK)[item.name].read_bytes() == CONTENT


@pytest.mark.parametrize("value", ["nan", "-5", "soon", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"])
def test_impossible_retry_after_is_none(server, tmp_path, value):
    item = file_source(server)
    server.faults[item.name] = [Fault(status=503, headers={"Retry-After": value})]
    assert fetch([item], tmp_path, retry=QUICK)[item.name].read_bytes() == CONTENT


# redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/b%20c", "b%20c", "{address}/b%20c"])
def test_redirect_is_followed_and_its_body_is_not_read(server, tmp_path, status, location):
    item = unpublished(server)
    server.files["b%20c"] = CONTENT[::-1]
    moved = {"Location": location.format(address=server.address)}
    server.faults[item.name] = [Fault(status, moved, content=b"moved" * 1000, hide_length=True, endless=True)]
    assert fetch([item], tmp_path, retry=QUICK)[item.name].read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("steps", [["/a"], ["/b", "/a"]])
def test_redirects_without_an_end_are_refused(server, tmp_path, steps):
    item = unpublished(server, name="a")
    for step, after in zip(["a", "b"], steps, strict=False):
        server.faults[step] = [Fault(status=302, headers={"Location": after})] * 100
    with pytest.raises(UnreachableError, match=f"^{item.address}: more than 20 redirects, the last to ") as error:
        fetch([item], tmp_path, retry=QUICK)
    refusal(error)
    assert len(server.requests) == 21


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://x/y", "http://[::1", "http://", "http://a..b/", "http://127.0.0.1:99999/"]
)
def test_redirect_to_nowhere_is_refused(server, tmp_path, location):
    item = unpublished(server)
    server.faults[item.name] = [Fault(status=302, headers={"Location": location})] * 100
    with pytest.raises(UnreachableError, match=f"^{item.address}: ") as error:
        fetch([item], tmp_path, retry=QUICK)
    refusal(error)


# compressed on the way


@pytest.mark.parametrize("published", [True, False])
@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip", "br", "deflate, gzip"])
def test_file_that_is_compressed_on_the_way_is_refused(server, tmp_path, published, encoding):
    item = file_source(server) if published else unpublished(server)
    packed = Fault(content=gzip.compress(CONTENT), headers={"Content-Encoding": encoding})
    server.faults[item.name] = [packed] * 2
    with pytest.raises(WrongBytesError, match=f"^{item.address}: the server sends it compressed") as error:
        fetch([item], tmp_path, retry=QUICK)
    assert encoding.lower() in refusal(error)


@pytest.mark.parametrize("name", ["list.csv.gz", "speech.tgz"])
def test_file_that_is_a_gz_may_be_called_encoded(server, tmp_path, name):
    item = unpublished(server, name=name)
    server.files[name] = packed = gzip.compress(CONTENT[:1000])
    server.faults[name] = [Fault(headers={"Content-Encoding": "gzip"})]
    assert fetch([item], tmp_path, retry=QUICK)[item.name].read_bytes() == packed


# certificates


def certificate(folder: Path, name: x509.GeneralName, days: int = 1) -> Path:
    """A self-signed certificate for a host and its key, in one file; it ends after so many days."""
    key = ec.generate_private_key(ec.SECP256R1())
    about = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder(about, about, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=10))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "certificate.pem"
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


def with_certificate(path: Path) -> FaultyServer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return FaultyServer(tls=context)


HERE, ELSEWHERE = x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("elsewhere.example")


@pytest.mark.parametrize(
    ("name", "days", "trusted", "message"),
    [
        (HERE, 1, True, None),
        (ELSEWHERE, 1, True, "not valid for '127.0.0.1'"),
        (HERE, -1, True, "expired"),
        (HERE, 1, False, "self-signed"),
    ],
)
def test_certificate_that_does_not_hold_is_refused_at_once(tmp_path, monkeypatch, caplog, name, days, trusted, message):
    caplog.set_level("INFO")
    path = certificate(tmp_path, name, days)
    if trusted:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    with with_certificate(path) as server:
        item = file_source(server)
        if message is None:
            assert fetch([item], tmp_path, retry=QUICK)[item.name].read_bytes() == CONTENT
            return
        with pytest.raises(UnreachableError, match=f"its certificate is refused: .*{message}") as error:
            fetch([item], tmp_path, retry=QUICK)
    assert refusal(error).startswith(f"{item.address}: ")
    assert "again in" not in caplog.text


# a mirror that does any of this


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(status=302, headers={"Location": "/a/speech.tar"}), "more than 20 redirects"),
        (Fault(status=302, headers={"Location": "file:///etc/passwd"}), "file:"),
        (Fault(headers={"Content-Length": "many"}), "'many' bytes"),
        (Fault(headers={"Content-Encoding": "br"}, chunked=True), "compressed (br)"),
        (Fault(endless=True, chunked=True), "the server sends more"),
    ],
)
def test_unusable_mirror_is_left_for_the_public_address(server, tmp_path, caplog, fault, said):
    caplog.set_level("INFO")
    item = file_source(server)
    with FaultyServer({item.file: CONTENT}) as mirror:
        mirror.faults[item.file] = [fault] * 100
        assert fetch([item], tmp_path, mirror=mirror.address, retry=QUICK)[item.name].read_bytes() == CONTENT
    assert said in caplog.text
    assert f"{item.file}: not from the mirror {mirror.address}, but from {item.address}" in caplog.messages

"""Servers that lie: about sizes, ends, addresses. The honest ones are in test_download.py."""

import socket
import threading

import pytest

from pix2pix.common.errors import UserError
from pix2pix.data import fetch as fetching
from pix2pix.data.fetch import fetch


@pytest.fixture
def serve():
    """Answers every request with the same bytes, again and again where they are to be endless."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def start(answer: bytes, endless: bytes = b"") -> str:
            def run() -> None:
                while True:
                    try:
                        connection, _ = server.accept()
                    except OSError:
                        return
                    with connection:
                        try:
                            connection.recv(65536)
                            connection.sendall(answer)
                            while endless:
                                connection.sendall(endless)
                        except OSError:
                            pass

            threading.Thread(target=run, daemon=True).start()
            return f"http://127.0.0.1:{server.getsockname()[1]}/a"

        yield start


def _quiet(_: str) -> None:
    pass


def test_a_stream_without_end_stops_at_the_expected_size(serve, tmp_path) -> None:
    url = serve(b"HTTP/1.0 200 OK\r\n\r\n", endless=bytes(1 << 16))
    with pytest.raises(UserError, match="sends more than 1,000 bytes"):
        fetch(url, tmp_path / "a", _quiet, size=1000, pause=0)
    assert sum(one.stat().st_size for one in tmp_path.iterdir()) < 1000


def test_a_stream_without_end_and_size_stops_at_the_bound(serve, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(fetching, "MAX_BYTES", 10_000_000)
    url = serve(b"HTTP/1.0 200 OK\r\n\r\n", endless=bytes(1 << 16))
    with pytest.raises(UserError, match="sends more than 10,000,000 bytes"):
        fetch(url, tmp_path / "a", _quiet, pause=0)
    assert not (tmp_path / "a").exists()


def test_a_stream_without_end_leaves_room_on_the_disk(serve, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(fetching, "RESERVE", 1 << 60)
    url = serve(b"HTTP/1.0 200 OK\r\n\r\n", endless=bytes(1 << 16))
    with pytest.raises(UserError, match="has no known size and fills the disk"):
        fetch(url, tmp_path / "a", _quiet, pause=0)


@pytest.mark.parametrize(
    "place", [b"file:///etc/passwd", b"ftp://127.0.0.1/x", b"data:,x", b"http://["]
)
def test_a_redirect_to_what_is_no_web_address(serve, tmp_path, place: bytes) -> None:
    url = serve(b"HTTP/1.1 302 Found\r\nLocation: " + place + b"\r\n\r\n")
    with pytest.raises(UserError, match=r"redirects to|/a: answered 302") as caught:
        fetch(url, tmp_path / "a", _quiet, pause=0)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nabc",
        b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 7-9/10\r\n\r\nabc",
        b"HTTP/1.1 503 \x1b[31mBusy\r\n\r\n",
        b"HTTP/" + b"a" * 5000,
    ],
)
def test_headers_that_lie_are_one_line_without_control_characters(serve, tmp_path, answer) -> None:
    try:
        fetch(serve(answer), tmp_path / "a", _quiet, pause=0, size=3)
    except UserError as error:
        assert str(error).isprintable() and len(str(error)) < 400
    else:
        assert (tmp_path / "a").read_bytes() == b"abc"


def test_the_page_that_comes_with_a_redirect_is_not_read(serve, tmp_path) -> None:
    """Its claimed length alone would take all memory."""
    moved = b"HTTP/1.1 302 Found\r\nLocation: /b\r\nTransfer-Encoding: chunked\r\n\r\n"
    url = serve(moved + b"ffffffffffff\r\nabc")
    with pytest.raises(UserError, match="answered 302") as caught:
        fetch(url, tmp_path / "a", _quiet, pause=0)
    assert len(str(caught.value)) < 400

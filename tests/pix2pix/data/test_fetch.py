"""One file over HTTP: from servers that break off, change, and lie about sizes and addresses."""

import hashlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pix2pix.common.errors import UserError
from pix2pix.data.fetch import ATTEMPTS, fetch


@pytest.fixture
def serve_bytes():
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


def test_a_stream_without_end_stops_at_the_expected_size(serve_bytes, tmp_path) -> None:
    url = serve_bytes(b"HTTP/1.0 200 OK\r\n\r\n", endless=bytes(1 << 16))
    with pytest.raises(UserError, match="sends more than 1,000 bytes"):
        fetch(url, tmp_path / "a", _quiet, size=1000, pause=0)
    assert sum(one.stat().st_size for one in tmp_path.iterdir()) < 1000


@pytest.mark.parametrize(
    "place", [b"file:///etc/passwd", b"ftp://127.0.0.1/x", b"data:,x", b"http://["]
)
def test_a_redirect_to_what_is_no_web_address(serve_bytes, tmp_path, place: bytes) -> None:
    url = serve_bytes(b"HTTP/1.1 302 Found\r\nLocation: " + place + b"\r\n\r\n")
    with pytest.raises(UserError, match="/a: cannot be downloaded") as caught:
        fetch(url, tmp_path / "a", _quiet, pause=0)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a").exists()


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
def test_headers_that_lie_are_one_line(serve_bytes, tmp_path, answer) -> None:
    try:
        fetch(serve_bytes(answer), tmp_path / "a", _quiet, pause=0, size=3)
    except UserError as error:
        assert str(error).isprintable() and len(str(error)) < 400
    else:
        assert (tmp_path / "a").read_bytes() == b"abc"


def test_a_servers_phrase_does_not_control_the_terminal(serve_bytes, tmp_path) -> None:
    lines: list[str] = []
    url = serve_bytes(b"HTTP/1.1 503 \x1b[2Jgone\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(UserError, match="given up"):
        fetch(url, tmp_path / "a", lines.append, pause=0)
    assert lines and all(line.isprintable() for line in lines)


def test_a_transfer_that_is_cut_off_goes_on_where_it_stopped(serve, tmp_path) -> None:
    server = serve(bytes(range(256)) * 40)
    server.cuts = [1000, 2000, 3000]
    fetch(server.url, tmp_path / "file", _quiet, pause=0)
    assert (tmp_path / "file").read_bytes() == server.content
    assert server.asked == [None, "bytes=1000-", "bytes=3000-", "bytes=6000-"]
    assert [path.name for path in tmp_path.glob("[!.]*")] == ["file"]


def test_a_later_command_goes_on_too(serve, tmp_path) -> None:
    server = serve(b"x" * 5000)
    server.cuts = [1000] + [0] * ATTEMPTS
    with pytest.raises(UserError, match=r"cut off at 1,000 of 5,000 bytes; given up after 5 tries"):
        fetch(server.url, tmp_path / "file", _quiet, pause=0)
    fetch(server.url, tmp_path / "file", _quiet, pause=0)
    assert (tmp_path / "file").read_bytes() == b"x" * 5000
    assert server.asked[-1] == "bytes=1000-"


def test_a_file_that_changed_meanwhile_is_not_glued_on(serve, tmp_path) -> None:
    server = serve(b"old" * 1000)
    server.cuts = [1000] + [0] * ATTEMPTS
    with pytest.raises(UserError):
        fetch(server.url, tmp_path / "file", _quiet, pause=0)
    server.content, server.etag = b"new" * 1000, '"second"'
    fetch(server.url, tmp_path / "file", _quiet, pause=0)
    assert (tmp_path / "file").read_bytes() == b"new" * 1000


def test_a_server_that_cannot_resume_is_asked_for_the_whole(serve, tmp_path) -> None:
    server = serve(b"x" * 5000)
    server.ranges, server.cuts = False, [1000]
    fetch(server.url, tmp_path / "file", _quiet, pause=0)
    assert (tmp_path / "file").read_bytes() == b"x" * 5000
    server.cuts = [1000] * 20
    with pytest.raises(UserError, match="given up"):
        fetch(server.url, tmp_path / "again", _quiet, pause=0)


def test_a_partial_file_that_is_too_long_starts_over(serve, tmp_path) -> None:
    server = serve(b"x" * 50)
    server.cuts = [10] + [0] * ATTEMPTS
    with pytest.raises(UserError):
        fetch(server.url, tmp_path / "file", _quiet, pause=0)
    (tmp_path / "file.part").write_bytes(b"y" * 60)
    fetch(server.url, tmp_path / "file", _quiet, pause=0)
    assert (tmp_path / "file").read_bytes() == b"x" * 50


def test_passing_errors_are_tried_again_and_lasting_ones_are_not(serve, tmp_path) -> None:
    server = serve(b"x" * 50)
    server.statuses = [503, 429, 500]
    lines: list[str] = []
    fetch(server.url, tmp_path / "file", lines.append, pause=0)
    assert len(lines) == 3
    server.statuses = [404]
    with pytest.raises(UserError, match="answered 404 Not Found"):
        fetch(server.url, tmp_path / "other", lines.append, pause=0)
    assert not server.statuses


def test_nobody_answers(serve, tmp_path) -> None:
    server = serve(b"")
    url = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(UserError, match=r"cannot be reached .*refused.*; given up after 5 tries"):
        fetch(url, tmp_path / "file", _quiet, pause=0)


def test_a_new_etag_never_stands_beside_the_old_bytes(serve, tmp_path, monkeypatch) -> None:
    server = serve(b"new" * 100)
    part, beside = tmp_path / "a.part", []
    part.write_bytes(b"of an earlier archive")
    real = Path.write_text

    def write(path, *arguments, **options):
        beside.append(part.exists())
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", write)
    fetch(server.url, tmp_path / "a", _quiet, pause=0)
    assert beside == [False] and (tmp_path / "a").read_bytes() == server.content


def test_other_bytes_than_expected_are_deleted(serve, tmp_path) -> None:
    server = serve(b"x" * 50)
    with pytest.raises(UserError, match=r"sha256 of the download is [0-9a-f]{64}, not 000"):
        fetch(server.url, tmp_path / "file", _quiet, sha256="0" * 64, pause=0)
    assert list(tmp_path.glob("[!.]*")) == []
    fetch(server.url, tmp_path / "file", _quiet, sha256=hashlib.sha256(b"x" * 50).hexdigest())
    assert (tmp_path / "file").read_bytes() == b"x" * 50


def test_of_two_at_once_one_downloads(serve, tmp_path) -> None:
    server = serve(b"x" * 5_000_000)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(fetch, server.url, tmp_path / "file", _quiet) for _ in range(2)]:
            done.result()
    assert (tmp_path / "file").read_bytes() == server.content and server.asked == [None]

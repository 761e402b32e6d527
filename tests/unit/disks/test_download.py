"""Fetching files and URLs over loopback: bounded, checked, all or nothing."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from backends.disks.download import download
from backends.disks.errors import ChecksumMismatch, DownloadFailed

CONTENT = b"\0" * 3_000_000 + b"the end" + b"\0" * 10


class Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/image")
            self.end_headers()
        elif self.path == "/to-file":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
        elif self.path in ("/image", "/cut-off", "/unannounced"):
            self.send_response(200)
            if self.path != "/unannounced":
                self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(CONTENT[:1000] if self.path == "/cut-off" else CONTENT)
        else:
            self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/image", "/moved", "/unannounced"])
def test_url_is_fetched_with_its_checksum(site: str, tmp_path: Path, path: str) -> None:
    done = download(f"{site}{path}", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == CONTENT
    assert done.size_bytes == len(CONTENT)
    assert done.sha256 == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("spelling", ["{}", "file://{}", "file://localhost{}"])
def test_file_is_copied(tmp_path: Path, spelling: str) -> None:
    (tmp_path / "a file").write_bytes(CONTENT)
    source = spelling.format(tmp_path / ("a file" if spelling == "{}" else "a%20file"))
    assert download(source, tmp_path / "got").size_bytes == len(CONTENT)
    assert (tmp_path / "got").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/none", "answered 404"),
        ("/cut-off", "can't be fetched|ended after"),
        ("/to-file", "can't be fetched"),
    ],
)
def test_failed_fetch_leaves_nothing(site: str, tmp_path: Path, path: str, reason: str) -> None:
    with pytest.raises(DownloadFailed, match=reason):
        download(f"{site}{path}", tmp_path / "got")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["/image", "/unannounced"])
def test_more_than_the_limit_is_not_taken(site: str, tmp_path: Path, path: str) -> None:
    with pytest.raises(DownloadFailed, match="2000000"):
        download(f"{site}{path}", tmp_path / "got", max_bytes=2_000_000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "source",
    [
        "ftp://example.org/image",
        "file://example.org/image",
        "/nowhere/image",
        "/dev/zero",
        "http://127.0.0.1:1/",
    ],
)
def test_unreachable_source_is_named(tmp_path: Path, source: str) -> None:
    with pytest.raises(DownloadFailed):
        download(source, tmp_path / "got")


def test_other_bytes_than_promised_are_refused(site: str, tmp_path: Path) -> None:
    with pytest.raises(ChecksumMismatch):
        download(f"{site}/image", tmp_path / "got", expected_sha256="1" * 64)
    assert list(tmp_path.iterdir()) == []

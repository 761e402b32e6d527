"""Fetching an image from a file or URL into a file of ours, bounded in size, its checksum taken on the way.

Whether the bytes are an image, and a safe one, is not asked here.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx

from backends.disks.errors import ChecksumMismatch, DownloadFailed, PoolFull

MAX_DOWNLOAD_BYTES = 64 * 1024**3
CHUNK_BYTES = 1024 * 1024
MAX_REDIRECTS = 5
SILENCE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Download:
    size_bytes: int
    sha256: str


def download(
    source: str, target: Path, *, expected_sha256: str | None = None, max_bytes: int = MAX_DOWNLOAD_BYTES
) -> Download:
    """Copy FILE or URL (http, https, file) to `target`, which holds all of it or doesn't exist afterwards."""
    scheme = urlsplit(source).scheme.lower()
    if scheme in ("http", "https"):
        chunks = chunks_of_url(source, max_bytes)
    elif scheme == "file":
        chunks = chunks_of_file(file_of_url(source))
    elif scheme and "://" in source:
        raise DownloadFailed(f"{source} has the scheme {scheme}; http, https, file or a path is expected")
    else:
        chunks = chunks_of_file(Path(source))
    unfinished = target.with_name(f"{target.name}.part")
    try:
        written = write_chunks(chunks, unfinished, source, max_bytes)
        if expected_sha256 is not None and written.sha256 != expected_sha256.lower():
            raise ChecksumMismatch(f"{source} has the SHA-256 {written.sha256}; {expected_sha256.lower()} is expected")
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return written


def file_of_url(source: str) -> Path:
    parts = urlsplit(source)
    if parts.netloc not in ("", "localhost"):
        raise DownloadFailed(f"{source} names the host {parts.netloc}; a file URL can only name this one")
    return Path(unquote(parts.path))


def chunks_of_file(path: Path) -> Iterator[bytes]:
    try:
        if not path.is_file():
            raise DownloadFailed(f"{path} is not a file")
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except OSError as failed:
        raise DownloadFailed(f"{path} can't be read: {failed.strerror}") from failed


def chunks_of_url(source: str, max_bytes: int) -> Iterator[bytes]:
    try:
        with (
            httpx.Client(follow_redirects=True, max_redirects=MAX_REDIRECTS, timeout=SILENCE_SECONDS) as client,
            client.stream("GET", source, headers={"Accept-Encoding": "identity"}) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise DownloadFailed(f"{source} answered {response.status_code}; 200 is expected")
            announced = response.headers.get("Content-Length", "")
            if announced.isdigit() and int(announced) > max_bytes:
                raise DownloadFailed(f"{source} has {announced} bytes; at most {max_bytes} are accepted")
            yield from response.iter_raw(CHUNK_BYTES)
            if announced.isdigit() and response.num_bytes_downloaded != int(announced):
                raise DownloadFailed(f"{source} ended after {response.num_bytes_downloaded} of {announced} bytes")
    except (httpx.HTTPError, httpx.InvalidURL) as failed:
        raise DownloadFailed(f"{source} can't be fetched: {failed or type(failed).__name__}") from failed


def write_chunks(chunks: Iterator[bytes], target: Path, source: str, max_bytes: int) -> Download:
    """Long runs of zeros become holes."""
    digest = hashlib.sha256()
    size_bytes = 0
    with room_needed_for(target), target.open("wb") as file:
        target.chmod(0o600)
        for chunk in chunks:
            size_bytes += len(chunk)
            if size_bytes > max_bytes:
                raise DownloadFailed(f"{source} has more than the {max_bytes} bytes that are accepted")
            digest.update(chunk)
            if chunk.count(0) == len(chunk):
                file.seek(len(chunk), os.SEEK_CUR)
            else:
                file.write(chunk)
        file.truncate(size_bytes)
        file.flush()
        os.fsync(file.fileno())
    return Download(size_bytes, digest.hexdigest())


@contextmanager
def room_needed_for(target: Path) -> Iterator[None]:
    """Says it clearly when the file system is full."""
    try:
        yield
    except OSError as failed:
        if failed.errno in (errno.ENOSPC, errno.EDQUOT):
            raise PoolFull(f"no room is left in {target.parent} for {target.name}") from failed
        raise

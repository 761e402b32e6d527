"""The rows of stored objects: large values next to nginx on the same disk, the rest next to the bare server.

nginx is Debian's, unpacked into the cache and run from there; nothing of it is installed.
"""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.measure import BenchError, Row, alternate, median_ms, requests_per_second
from bench.requests import CONNECTIONS, WRK_SECONDS
from bench.site import REPOSITORY, Client, Site, free_port, listens, running, running_bare

NGINX_CACHE = REPOSITORY / ".cache" / "nginx"
LARGE_MIB = 1024
SMALL_BYTES = 4096
CHILDREN, PAGE_SIZE = 100_000, 1000
PAGES = 20
CONTAINERS = ("bench-large", "bench-small", "bench-many")
OBJECT, VERSION = "application/cdmi-object", "1.1.1"
NGINX = """
daemon off;
worker_processes 2;
user {user} {group};
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 128; }}
http {{
    access_log {folder}/access.log;
    sendfile on;
    client_max_body_size 0;
    client_body_temp_path {folder}/incoming;
    proxy_temp_path {folder}/unused;
    fastcgi_temp_path {folder}/unused;
    uwsgi_temp_path {folder}/unused;
    scgi_temp_path {folder}/unused;
    server {{
        listen {listen};
        root {folder}/files;
        location / {{ dav_methods PUT DELETE; dav_access user:rw; }}
    }}
}}
"""
PUT_SCRIPT = """
local count, me = 0, 0
local body = string.rep("x", {bytes})
function setup(thread) thread:set("me", math.random(1000000000)) end
function request()
    count = count + 1
    return wrk.format("PUT", "{path}" .. me .. "-" .. count, {{{fields}}}, {body})
end
"""
POPULATE = f"""
INSERT INTO stored_object (id, project_id, parent_id, name, kind, owner, mimetype, encoding, value, size_bytes)
SELECT gen_random_uuid(), parent.project_id, parent.id, 'object-' || lpad(n::text, 6, '0'), 'dataobject', 'admin',
    'text/plain', 'utf-8', 'x', 1
FROM stored_object parent, generate_series(1, {CHILDREN}) n
WHERE parent.name = 'bench-many';
ANALYZE stored_object;
"""


def object_rows(site: Site, rounds: int) -> Iterator[Row]:
    """Containers of their own, deleted at the end."""
    ours = site.client()
    for name in CONTAINERS:
        ours.send("PUT", f"/cdmi/{name}/")
    ours.send("PUT", "/cdmi/bench-small/read", b"x" * SMALL_BYTES, Content_Type="text/plain;charset=utf-8")
    ours.close()
    yield from _large(site, rounds)
    with site.connect() as connection:
        connection.execute(POPULATE)
        found = connection.execute(
            "SELECT name, id::text FROM stored_object WHERE name = ANY(%s)"
            " UNION ALL SELECT 'project', project_id::text FROM stored_object WHERE name = 'bench-small'",
            [[*CONTAINERS, "read"]],
        ).fetchall()
    answers = site.state.parent / "objects.json"
    answers.write_text(json.dumps({"objects": dict(found)}))
    with running_bare(site, answers) as listen:
        yield from _small(site, listen, rounds)
        yield _listing(site, listen, rounds)
    ours = site.client()
    for name in CONTAINERS:
        ours.send("DELETE", f"/cdmi/{name}/")
    ours.close()


def _large(site: Site, rounds: int) -> Iterator[Row]:
    """By curl, from and to the page cache; each PUT makes a new object, as each file is new to nginx."""
    source = site.state.parent / "large.bin"
    with source.open("wb") as file:
        for _ in range(LARGE_MIB):
            file.write(os.urandom(1 << 20))
    login = (site.state / "credentials").read_text().strip()
    with _nginx(site) as nginx:
        gateway = f"{site.origin}/cdmi/bench-large"
        take = ("--output", "/dev/null")
        give = ("--upload-file", str(source))
        _curl(login, f"{gateway}/kept", *give)
        _curl("", f"http://{nginx}/kept", *give)
        os.sync()  # so that nobody is measured while the disk is busy with this
        value, yardstick = alternate(
            lambda: _curl(login, f"{gateway}/kept", *take), lambda: _curl("", f"http://{nginx}/kept", *take), rounds
        )
        yield Row(f"GET {LARGE_MIB} MiB by HTTP", LARGE_MIB / value, "MiB/s", "nginx, the same disk",
                  LARGE_MIB / yardstick, 0.9, high_is_good=True)  # fmt: skip

        def put(user: str, base: str, file: Path | None = None) -> float:
            seconds = _curl(user, f"{base}/new", *give)
            started = time.perf_counter()
            if file is not None:
                with file.open("rb") as written:
                    os.fsync(written.fileno())
            seconds += time.perf_counter() - started
            _curl(user, f"{base}/new", "--request", "DELETE")
            return seconds

        ours, theirs = partial(put, login, gateway), partial(put, "", f"http://{nginx}")
        on_disk = partial(theirs, file=site.state.parent / "nginx" / "files" / "new")
        for name, yardstick_put in (
            ("nginx WebDAV, the same disk", theirs),
            ("the same and fsync of its file", on_disk),
        ):
            value, yardstick = alternate(ours, yardstick_put, rounds)
            yield Row(f"PUT {LARGE_MIB} MiB by HTTP", LARGE_MIB / value, "MiB/s", name,
                      LARGE_MIB / yardstick, 0.7, high_is_good=True)  # fmt: skip
    source.unlink()


def _curl(login: str, url: str, *options: str) -> float:
    """How long it took, in seconds. The password goes by standard input, where nobody else reads it."""
    command = ["curl", "--silent", "--show-error", "--fail", "--config", "-", "--write-out", "%{stderr}%{time_total}"]
    done = subprocess.run(
        [*command, *options, "--header", "Content-Type: application/octet-stream", url],
        input=f'user = "{login}"\n' if login else "", capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise BenchError(f"curl {' '.join(options)} {url} says: {done.stderr.strip()}")
    return float(done.stderr.strip().splitlines()[-1])


def _small(site: Site, listen: str, rounds: int) -> Iterator[Row]:
    login = {"Authorization": site.authorization}
    cdmi = {**login, "Accept": OBJECT, "X-CDMI-Specification-Version": VERSION}
    url = f"{site.origin}/cdmi/bench-small/read"
    get = partial(requests_per_second, connections=CONNECTIONS, seconds=WRK_SECONDS)
    for name, fields in (("HTTP", login), ("CDMI", cdmi)):
        value, yardstick = alternate(partial(get, url, fields), partial(get, f"http://{listen}/small", {}), rounds)
        yield Row(f"GET {SMALL_BYTES} bytes by {name}", value, "requests/s", "bare Falcon, one SELECT",
                  yardstick, 0.6, high_is_good=True)  # fmt: skip
    http_body = "body"
    cdmi_body = "'{\"value\":\"' .. body .. '\"}'"
    cdmi_put = {**login, "Content-Type": OBJECT, "X-CDMI-Specification-Version": VERSION}
    for name, fields, body in (
        ("HTTP", {**login, "Content-Type": "text/plain;charset=utf-8"}, http_body),
        ("CDMI", cdmi_put, cdmi_body),
    ):
        value, yardstick = alternate(
            partial(_puts, site, site.listen, "/cdmi/bench-small/", fields, body),
            partial(_puts, site, listen, "/small/", {}, http_body),
            rounds,
        )
        yield Row(f"PUT {SMALL_BYTES} bytes by {name}", value, "requests/s", "bare Falcon, one INSERT and its fsync",
                  yardstick, 0.6, high_is_good=True)  # fmt: skip


def _puts(site: Site, listen: str, path: str, fields: dict[str, str], body: str) -> float:
    script = site.state.parent / "put.lua"
    named = ", ".join(f'["{name}"] = "{value}"' for name, value in fields.items())
    nonce = f"{time.monotonic_ns()}-"
    script.write_text(PUT_SCRIPT.format(bytes=SMALL_BYTES, path=path + nonce, fields=named, body=body))
    return requests_per_second(
        f"http://{listen}{path}", {}, connections=CONNECTIONS, seconds=WRK_SECONDS, script=script
    )


def _listing(site: Site, listen: str, rounds: int) -> Row:
    ours, bare = site.client(), Client(listen, {})
    numbers = [CHILDREN // PAGES * index for index in range(PAGES)]

    def pages() -> None:
        for first in numbers:
            last = first + PAGE_SIZE - 1
            ours.send(
                "GET", f"/cdmi/bench-many/?children:{first}-{last}",
                Accept="application/cdmi-container", X_CDMI_Specification_Version=VERSION,
            )  # fmt: skip

    def bare_pages() -> None:
        for first in numbers:
            bare.send("GET", f"/children?first={first}&number={PAGE_SIZE}")

    value, yardstick = alternate(partial(median_ms, pages, 1), partial(median_ms, bare_pages, 1), rounds)
    ours.close()
    bare.close()
    return Row(
        f"{PAGES} pages of {PAGE_SIZE} among {CHILDREN} children", value, "ms", "one SELECT per page", yardstick, 2.0
    )


@contextmanager
def _nginx(site: Site) -> Iterator[str]:
    folder = site.state.parent / "nginx"
    account = pwd.getpwnam("altostratus")
    for path in (folder, folder / "files", folder / "incoming"):
        path.mkdir()
        os.chown(path, account.pw_uid, account.pw_gid)
    listen = f"127.0.0.1:{free_port()}"
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(folder=folder, listen=listen, user="altostratus", group="altostratus"))
    command = [str(_nginx_program()), "-c", str(configuration), "-p", str(folder)]
    with running(command, os.environ, folder / "output", lambda: listens(listen)):
        yield listen


def _nginx_program() -> Path:
    program = NGINX_CACHE / "usr" / "sbin" / "nginx"
    if not program.exists():
        raise BenchError(f"there is no {program}; `make bench` fetches it before it begins")
    return program

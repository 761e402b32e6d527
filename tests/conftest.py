"""Real things that tests own and give back: a PostgreSQL cluster, and a door to the cloud on it."""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from altostratus.postgres import PrivateCluster
from backends.cloud import Cloud
from backends.model import Caller, Role, Size
from backends.store.database import Connection, Database, migrate

# A busy machine is no failure: no test asserts how long something takes.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

GIB = 2**30
SIZES = {
    "small": Size("small", "Small", 1, 1024, 10 * GIB),
    "large": Size("large", "Large", 4, 4096, 40 * GIB),
    "growing": Size("growing", "Growing", 1, 1024, 10 * GIB, max_cores=8),
}


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateCluster]:
    """A running private PostgreSQL for the whole run."""
    if os.geteuid() != 0:
        pytest.skip("a private PostgreSQL is started as another user, which needs root")
    base = tmp_path_factory.mktemp("postgres")
    let_others_enter(base)
    owner = pwd.getpwnam("postgres")
    cluster = PrivateCluster(base / "cluster", "postgres")
    cluster.ensure_made()
    with subprocess.Popen(
        cluster.command(), user=owner.pw_uid, group=owner.pw_gid, extra_groups=[], stderr=subprocess.DEVNULL
    ) as server:
        wait_until(cluster.is_ready)
        yield cluster
        server.send_signal(2)
        server.wait(30)


@pytest.fixture(scope="session")
def template_database(cluster: PrivateCluster) -> str:
    """A migrated database that each test's own is copied from."""
    with psycopg.connect(cluster.conninfo, autocommit=True) as connection:
        connection.execute("CREATE DATABASE template_cloud")
    migrate(cluster.conninfo.replace("dbname=postgres", "dbname=template_cloud"))
    return "template_cloud"


@pytest.fixture
def conninfo(cluster: PrivateCluster, template_database: str) -> Iterator[str]:
    """A database of the test's own."""
    with new_database(cluster, template_database) as conninfo:
        yield conninfo


@contextmanager
def new_database(cluster: PrivateCluster, template_database: str) -> Iterator[str]:
    name = f"test_{uuid4().hex}"
    with psycopg.connect(cluster.conninfo, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}")
        yield cluster.conninfo.replace("dbname=postgres", f"dbname={name}")
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(conninfo: str) -> Iterator[Database]:
    database = Database(conninfo, connections=8)
    database.open()
    yield database
    database.close()


@pytest.fixture
def sql(database: Database) -> Iterator[Connection]:
    with database.connection() as connection:
        yield connection


@pytest.fixture
def host(sql: Connection) -> str:
    """A host with room for 8 cores, 16 GiB and 1 TiB, whose agent is taken to be alive, and the shared network."""
    sql.execute(
        "INSERT INTO host (name, cores, memory_mib, disk_bytes, domain_type, heartbeat_at)"
        " VALUES ('rack1', 8, 16384, %s, 'qemu', now() + interval '1 day')",
        [2**40],
    )
    sql.execute(
        "INSERT INTO network (id, title, cidr, gateway, allocation, shared, class, state)"
        " VALUES (gen_random_uuid(), 'shared', '10.77.0.0/24', '10.77.0.1', 'dynamic', true, 'local', 'active')"
    )
    return "rack1"


def project(sql: Connection, name: str) -> UUID:
    row = sql.execute("INSERT INTO project (name) VALUES (%s) RETURNING id", [name]).fetchone()
    assert row is not None
    found: UUID = row[0]
    return found


def caller(project_id: UUID, role: Role = Role.USER) -> Caller:
    return Caller(uuid4(), "tester", project_id, "project", role)


def member(sql: Connection, project_id: UUID, name: str = "", role: Role = Role.USER) -> Caller:
    """Somebody who can log in: queues are filled on behalf of such only."""
    name = name or f"user {uuid4()}"
    row = sql.execute(
        "INSERT INTO account (name, password_hash, project_id, role) VALUES (%s, '', %s, %s) RETURNING id",
        [name, project_id, role.value],
    ).fetchone()
    assert row is not None
    return Caller(row[0], name, project_id, "project", role)


@pytest.fixture
def cloud(database: Database, sql: Connection, host: str) -> Cloud:
    """The door for a user of a project of its own."""
    return Cloud(database, caller(project(sql, "mine")), SIZES, "small")


@pytest.fixture
def other_cloud(database: Database, sql: Connection, host: str) -> Cloud:
    """The door for a user of another project."""
    return Cloud(database, caller(project(sql, "theirs")), SIZES, "small")


@pytest.fixture
def image(sql: Connection) -> str:
    """The name of an image that everybody sees; the database alone knows of it."""
    sql.execute(
        "INSERT INTO image (id, name, title, size_bytes, sha256, state)"
        " VALUES (gen_random_uuid(), 'tiny', 'Tiny Linux', %s, '', 'ready')",
        [GIB],
    )
    return "tiny"


def let_others_enter(folder: Path) -> None:
    """Unprivileged users get in, whatever pytest thinks of the folders above."""
    for entered in (folder, *folder.parents):
        if entered == Path("/tmp"):
            return
        entered.chmod(0o755)


def wait_until(condition: object, limit_s: float = 60) -> None:
    """Calls `condition` until it is true; fails when the limit is over."""
    assert callable(condition)
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"{condition} not reached in {limit_s} s"
        time.sleep(0.05)


def repository() -> Path:
    return Path(__file__).parent.parent

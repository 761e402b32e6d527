"""Saved images at the door: whose name means which, and the room that they take."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest
import yoyo
from click.testing import CliRunner
from occi_client import COMPUTE, TINY, Client

from altostratus.command import main
from altostratus.images import _claim
from altostratus.postgres import PrivateCluster
from backends.cloud import Cloud
from backends.errors import Conflict, NotApplicable, NotFound
from backends.model import Caller, Image, NewDisk, NewMachine, Role, SaveMethod
from backends.store.database import Connection, _yoyo_uri, migrate
from tests.conftest import SIZES, repository

GIB = 2**30


def save(cloud: Cloud, image: str, name: str, size_bytes: int = 2 * GIB) -> Image:
    machine = cloud.create_machine(NewMachine(image_name=image, cores=1, memory_mib=16, root_size_bytes=size_bytes))
    return cloud.save_machine(machine.id, SaveMethod.HOT, name)


def made_ready(sql: Connection) -> None:
    sql.execute("UPDATE image SET state = 'ready'")


def names(cloud: Cloud) -> list[str]:
    return [image.name for image in cloud.images()]


@pytest.fixture
def admin(cloud: Cloud) -> Cloud:
    """An admin of the same project as `cloud`."""
    caller = Caller(uuid4(), "admin", cloud.caller.project_id, "mine", Role.CLOUD_ADMIN)
    return Cloud(cloud._database, caller, SIZES, "small")


def test_two_projects_save_under_one_name_and_each_has_its_own(
    cloud: Cloud, other_cloud: Cloud, image: str, sql: Connection
) -> None:
    mine, theirs = save(cloud, image, "golden"), save(other_cloud, image, "golden")
    made_ready(sql)

    assert (cloud.image("golden").id, other_cloud.image("golden").id) == (mine.id, theirs.id)
    assert cloud.create_machine(NewMachine(image_name="golden", memory_mib=16)).image_id == mine.id
    with pytest.raises(Conflict, match="'golden' is taken"):
        save(cloud, image, "golden")
    cloud.delete_image("golden")
    with pytest.raises(NotFound):
        cloud.image("golden")
    assert other_cloud.image("golden").id == theirs.id


def test_a_name_of_another_project_is_free_but_its_template_is_not_there(
    cloud: Cloud, other_cloud: Cloud, image: str, sql: Connection
) -> None:
    save(cloud, image, "golden")
    made_ready(sql)
    client = Client(other_cloud)
    golden = TINY.replace("tiny", "golden")

    assert client.send("POST", "/compute/", COMPUTE, golden).status_code == 404
    assert client.send("GET", "/os_tpl/golden/").status_code == 404
    assert "golden" not in client.text("/-/")


def test_a_project_takes_no_name_of_the_sites_but_the_site_may_take_a_projects(
    cloud: Cloud, other_cloud: Cloud, image: str, sql: Connection
) -> None:
    with pytest.raises(Conflict, match="'tiny' is taken"):
        save(cloud, image, "tiny")

    mine = save(cloud, image, "golden")
    sites = _claim(sql, "golden", "The site's")
    made_ready(sql)

    assert (cloud.image("golden").id, other_cloud.image("golden").id) == (mine.id, sites)
    assert names(cloud).count("golden") == names(other_cloud).count("golden") == 1
    with pytest.raises(Conflict, match="'golden' is taken"):
        _claim(sql, "golden", "")


def test_an_admin_names_first_the_own_projects_image_then_the_sites_then_any(
    cloud: Cloud, other_cloud: Cloud, admin: Cloud, image: str, sql: Connection
) -> None:
    theirs = save(other_cloud, image, "golden")
    assert admin.image("golden").id == theirs.id
    sites = _claim(sql, "golden", "The site's")
    assert admin.image("golden").id == sites
    sql.execute("UPDATE image SET deleting = true WHERE id = %s", [sites])
    mine = save(cloud, image, "golden")
    assert admin.image("golden").id == mine.id
    assert names(admin).count("golden") == 1


def test_the_command_removes_the_sites_image_or_the_named_projects(
    cloud: Cloud, other_cloud: Cloud, image: str, conninfo: str, monkeypatch: pytest.MonkeyPatch, sql: Connection
) -> None:
    monkeypatch.setenv("ALTOSTRATUS_DATABASE", conninfo)
    save(cloud, image, "golden")
    kept = save(other_cloud, image, "golden")
    sql.execute("UPDATE image SET title = %s WHERE id = %s", ["A title [b]as long[/b] as titles come " * 8, kept.id])

    def command(*words: str, status: int = 0) -> str:
        done = CliRunner().invoke(main, ["image", *words])
        assert done.exit_code == status, done.output
        return done.output

    lines = command("list").splitlines()
    assert sorted(line.split()[0] for line in lines) == ["golden", "golden", "name", "tiny"]
    assert any("[b]as long[/b]" in line for line in lines)
    assert "mine, theirs (--project)" in command("remove", "golden", status=1)
    command("remove", "golden", "--project", "mine")
    assert "of the project 'mine'" in command("remove", "golden", "--project", "mine", status=1)
    assert other_cloud.image("golden").id == kept.id
    command("remove", "tiny")
    assert names(other_cloud) == ["golden"]


def test_what_is_saved_takes_room_until_it_is_gone(cloud: Cloud, image: str, sql: Connection) -> None:
    def taken() -> int:
        row = sql.execute("SELECT disk_taken_bytes FROM host").fetchone()
        assert row is not None
        return int(row[0]) // GIB

    saved = save(cloud, image, "golden", 2 * GIB)
    assert taken() == 4
    made_ready(sql)
    assert taken() == 4
    sql.execute("UPDATE image SET state = 'error' WHERE id = %s", [saved.id])
    assert taken() == 2
    sql.execute("UPDATE image SET state = 'pending' WHERE id = %s", [saved.id])
    sql.execute("DELETE FROM image WHERE id = %s", [saved.id])
    assert taken() == 2


def test_nothing_is_saved_without_room_or_before_it_exists(cloud: Cloud, image: str, sql: Connection) -> None:
    sql.execute("UPDATE host SET disk_bytes = %s", [5 * GIB])
    machine = cloud.create_machine(NewMachine(image_name=image, memory_mib=16, root_size_bytes=2 * GIB))
    disk = cloud.create_disk(NewDisk(size_bytes=2 * GIB))
    with pytest.raises(Conflict, match=r"can't be saved: asks for 2 GiB of disk; disk short on host rack1"):
        cloud.save_machine(machine.id, SaveMethod.HOT, "golden")
    assert names(cloud) == ["tiny"]
    waiting = cloud.create_machine(NewMachine(image_name=image, memory_mib=16, root_size_bytes=2 * GIB))
    with pytest.raises(NotApplicable, match="no root disk yet"):
        cloud.save_machine(waiting.id, SaveMethod.HOT, "golden")

    sql.execute("DELETE FROM disk WHERE id = %s", [disk.id])
    cloud.save_machine(machine.id, SaveMethod.HOT, "golden")


def test_images_saved_before_they_counted_are_counted(cluster: PrivateCluster) -> None:
    name = f"test_{uuid4().hex}"
    conninfo = cluster.conninfo.replace("dbname=postgres", f"dbname={name}")
    folder = repository() / "backends" / "store" / "migrations"
    with psycopg.connect(cluster.conninfo, autocommit=True) as holder:
        holder.execute(f"CREATE DATABASE {name}")
        with psycopg.connect(conninfo, autocommit=True) as connection:
            backend = yoyo.get_backend(_yoyo_uri(conninfo))
            older = yoyo.read_migrations(str(folder)).filter(lambda migration: migration.id < "0013")
            backend.apply_migrations(backend.to_apply(older))
            backend.connection.close()
            connection.execute(
                "INSERT INTO host (name, cores, memory_mib, disk_bytes, domain_type)"
                " VALUES ('rack1', 8, 4096, 0, 'qemu');"
                "INSERT INTO project (name) VALUES ('mine');"
                "INSERT INTO disk (id, project_id, size_bytes, host)"
                " SELECT gen_random_uuid(), id, 512, 'rack1' FROM project;"
                "INSERT INTO image (id, name, title, size_bytes, project_id, source_machine_id, host, state)"
                " SELECT gen_random_uuid(), 'saved-' || state, '', 1024, id, gen_random_uuid(), 'rack1', state"
                " FROM project, unnest(ARRAY['ready', 'error']) state;"
                "INSERT INTO image (id, name, title, size_bytes, state)"
                " VALUES (gen_random_uuid(), 'imported', '', 4096, 'ready')"
            )
            migrate(conninfo)
            row = connection.execute("SELECT disk_taken_bytes FROM host").fetchone()
        holder.execute(f"DROP DATABASE {name} WITH (FORCE)")
    assert row == (1024 + 512,)

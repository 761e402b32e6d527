"""Exports of disks by CDMI, to OCCI's computes and by iSCSI to initiators outside: HTTP over a real PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cdmi_client import CAPABILITY, CONTAINER
from cdmi_client import Client as CdmiClient
from occi_client import COMPUTE, ORIGIN, STORAGE, STORAGE_LINK, action
from occi_client import Client as OcciClient
from test_cdmi_disks import make, settle, storage_of

from backends.cloud import Cloud, disk_bytes
from backends.store.database import Connection, Database

OUTSIDE = "iqn.2026-01.org.example:outside"
ISCSI = "Network/iSCSI"


@pytest.fixture
def occi(cloud: Cloud) -> OcciClient:
    return OcciClient(cloud)


@pytest.fixture
def cdmi(database: Database, cloud: Cloud, tmp_path: Path) -> CdmiClient:
    """The same user."""
    return CdmiClient(database, cloud.caller, tmp_path)


@pytest.fixture
def storage(sql: Connection, host: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A storage host, whose agent is taken to be alive, and isn't waited for."""
    monkeypatch.setattr(disk_bytes, "WAIT_S", 0)
    sql.execute(
        "INSERT INTO host (name, cores, memory_mib, disk_bytes, domain_type, pool, portal, heartbeat_at)"
        " VALUES ('store1', 0, 0, %s, 'none', 'iscsi', '192.0.2.7:3260', now() + interval '1 day')",
        [2**40],
    )
    return "store1"


def serve(sql: Connection) -> None:
    """Takes all disks to be served, as the storage host's agent would report."""
    sql.execute(
        "UPDATE disk SET state = wanted, observed_generation = generation,"
        " target_identifier = 'iqn.2026-01.local.altostratus:as0001.' || id || ',t,0x0001',"
        " logical_unit_name = '0x6001405'"
    )
    sql.execute("UPDATE disk_grant SET served = true")


def exports_of(cdmi: CdmiClient, name: str, root: str = "/cdmi/") -> dict[str, dict[str, object]]:
    return dict(cdmi.send("GET", f"{root}disks/{name}/", CONTAINER).json.get("exports", {}))


def outside(*initiators: str) -> dict[str, object]:
    return {"exports": {ISCSI: {"permissions": list(initiators)}}}


def export(cdmi: CdmiClient, name: str, *computes: str) -> None:
    """Lets these computes have the disk, and no others."""
    body = {"exports": {"OCCI/iSCSI": {"permissions": [f"{ORIGIN}{compute}" for compute in computes]}}}
    changed = cdmi.send("PUT", f"/cdmi/disks/{name}/", CONTAINER, body)
    assert changed.status_code == 204, changed.text


def test_cdmi_first_a_disk_goes_to_the_compute_in_its_exports_permissions_only(
    cdmi: CdmiClient, occi: OcciClient, sql: Connection
) -> None:
    object_id = make(cdmi, "data", exports={"OCCI/iSCSI": {"permissions": []}})
    settle(sql)
    compute, other = occi.make("/compute/", COMPUTE), occi.make("/compute/", COMPUTE)

    def attach(to: str) -> int:
        link = f'occi.core.source="{to}", occi.storagelink.deviceid="{object_id}"'
        answer = occi.send("POST", "/storagelink/", STORAGE_LINK, attributes=link)
        assert answer.status_code == 201 or "is not in the permissions" in answer.text
        return answer.status_code

    assert attach(compute) == 403
    export(cdmi, "data", compute)
    assert cdmi.send("GET", "/cdmi/disks/data/?exports", CONTAINER).json == {
        "exports": {"OCCI/iSCSI": {"identifier": object_id, "permissions": [f"{ORIGIN}{compute}"]}}
    }
    assert attach(other) == 403
    assert attach(compute) == 201
    withdrawn = {"exports": {"OCCI/iSCSI": {"permissions": [other]}}}
    refused = cdmi.send("PUT", "/cdmi/disks/data/", CONTAINER, withdrawn)
    assert (refused.status_code, "attached to the compute" in refused.text) == (409, True)


def test_occi_first_a_compute_that_is_there_is_let_in_by_an_export_made_later(
    cdmi: CdmiClient, occi: OcciClient, sql: Connection
) -> None:
    compute, other = occi.make("/compute/", COMPUTE), occi.make("/compute/", COMPUTE)
    disk = occi.make("/storage/", STORAGE, attributes="occi.storage.size=1.0")
    name = disk.removeprefix("/storage/")
    settle(sql)
    export(cdmi, name, compute)
    link = f'occi.core.source="{other}", occi.core.target="{disk}"'
    assert occi.send("POST", "/storagelink/", STORAGE_LINK, attributes=link).status_code == 403
    assert cdmi.send("PUT", f"/cdmi/disks/{name}/", CONTAINER, {"exports": {}}).status_code == 204
    assert "exports" not in cdmi.send("GET", f"/cdmi/disks/{name}/", CONTAINER).json
    occi.make("/storagelink/", STORAGE_LINK, attributes=link)


def test_exports_that_can_not_be_honoured_are_refused_and_change_nothing(
    cdmi: CdmiClient, occi: OcciClient, sql: Connection, other_cloud: Cloud
) -> None:
    make(cdmi, "data")
    settle(sql)
    theirs = OcciClient(other_cloud).make("/compute/", COMPUTE)
    disk = occi.make("/storage/", STORAGE, attributes="occi.storage.size=1.0")
    for permissions in (
        ["x"],
        [disk],
        [theirs],
        [f"/compute/{uuid4()}"],
        ["http://elsewhere.example/compute/1"],
        [5],
        5,
    ):
        body = {"exports": {"OCCI/iSCSI": {"permissions": permissions}}}
        assert cdmi.send("PUT", "/cdmi/disks/data/", CONTAINER, body).status_code == 400, permissions
    for exports in ([], "x", {"OCCI/iSCSI": 5}, {"OCCI/iSCSI": {"identifier": "0"}}, {"1": {"type": "NFSv4"}}):
        assert cdmi.send("PUT", "/cdmi/disks/data/", CONTAINER, {"exports": exports}).status_code == 400, exports
    assert "exports" not in cdmi.send("GET", "/cdmi/disks/data/", CONTAINER).json


def test_an_initiator_outside_is_told_all_that_it_needs_to_log_in(
    cdmi: CdmiClient, sql: Connection, storage: str
) -> None:
    object_id = make(cdmi, "data", **outside(OUTSIDE))
    assert cdmi.send("GET", "/cdmi/disks/data/", CONTAINER).json["completionStatus"] == "Processing"
    assert exports_of(cdmi, "data")[ISCSI].keys() == {"permissions", "chap_secrets"}
    serve(sql)
    export = exports_of(cdmi, "data")[ISCSI]
    secret = export["chap_secrets"][OUTSIDE]  # type: ignore[index]
    assert export == {
        "portals": ["192.0.2.7"],
        "target_identifier": f"iqn.2026-01.local.altostratus:as0001.{UUID(hex=object_id[16:])},t,0x0001",
        "logical_unit_number": "0",
        "logical_unit_name": "0x6001405",
        "permissions": [OUTSIDE],
        "chap_secrets": {OUTSIDE: secret},
    }
    assert len(secret) == 16
    read = cdmi.send("GET", "/cdmi/disks/data/?exports", CONTAINER).json
    assert cdmi.send("PUT", "/cdmi/disks/data/", CONTAINER, read).status_code == 204
    assert exports_of(cdmi, "data")[ISCSI] == export
    assert cdmi.send("GET", "/cdmi/disks/data/", CONTAINER).json["completionStatus"] == "Complete"
    node = cdmi.send("GET", "/cdmi/disks/data/?capabilitiesURI", CONTAINER).json["capabilitiesURI"]
    claimed = cdmi.send("GET", node, CAPABILITY).json["capabilities"]
    assert claimed["cdmi_export_container_iscsi"] == "true"


def test_an_export_is_changed_and_withdrawn_and_its_storage_host_s_part_is_waited_for(
    cdmi: CdmiClient, sql: Connection, storage: str
) -> None:
    make(cdmi, "data")
    serve(sql)
    eui, naa = "eui.02004567a425678d", "naa.52004567ba64678d"
    for permissions, expected in (([OUTSIDE], OUTSIDE), (f"{OUTSIDE}2", f"{OUTSIDE}2"), ([eui], eui), ([naa], naa)):
        body = {"exports": {ISCSI: {"permissions": permissions}}}
        assert cdmi.send("PUT", "/cdmi/disks/data/", CONTAINER, body).status_code == 202
        assert cdmi.send("GET", "/cdmi/disks/data/", CONTAINER).status_code == 202
        serve(sql)
        assert exports_of(cdmi, "data")[ISCSI]["permissions"] == [expected]
    assert cdmi.send("PUT", "/cdmi/disks/data/", CONTAINER, {"metadata": {"colour": "blue"}}).status_code == 204
    assert ISCSI in exports_of(cdmi, "data")
    assert cdmi.send("PUT", "/cdmi/disks/data/", CONTAINER, {"exports": {}}).status_code == 202
    assert cdmi.send("GET", "/cdmi/disks/data/", CONTAINER).json["completionStatus"] == "Processing"
    serve(sql)
    assert exports_of(cdmi, "data") == {}


def test_an_update_of_exports_returns_when_the_storage_host_has_done_its_part(
    cdmi: CdmiClient, sql: Connection, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1.1.1 §9.4.5, 2.0 §9.5.5."""
    make(cdmi, "data")
    serve(sql)
    monkeypatch.setattr(disk_bytes, "WAIT_S", 30)
    for method, root, exports in (
        ("PUT", "/cdmi/", {ISCSI: {"permissions": [OUTSIDE]}}),
        ("PATCH", "/cdmi/2.0.0/", {"mine": {"type": "iSCSI", "permissions": [f"{OUTSIDE}2"]}}),
        ("PUT", "/cdmi/", {}),
    ):
        with ThreadPoolExecutor(1) as threads:
            changed = threads.submit(cdmi.send, method, f"{root}disks/data/", CONTAINER, {"exports": exports})
            with pytest.raises(TimeoutError):
                changed.result(0.3)
            serve(sql)
            assert changed.result().status_code == 204
        assert cdmi.send("GET", "/cdmi/disks/data/", CONTAINER).json["completionStatus"] == "Complete"
    occi_alone = {"exports": {"OCCI/iSCSI": {"permissions": []}}}
    make(cdmi, "not-made-yet")
    assert cdmi.send("PUT", "/cdmi/disks/not-made-yet/", CONTAINER, occi_alone).status_code == 204
    monkeypatch.setattr(disk_bytes, "WAIT_S", 0)
    whole = {"metadata": {"cdmi_assignedsize": str(2**30)}, "exports": {"1": {"type": "iSCSI", "permissions": OUTSIDE}}}
    assert cdmi.send("PUT", "/cdmi/2.0.0/disks/data/", CONTAINER, whole).status_code == 202


def test_exports_by_one_protocol_can_be_asked_for(cdmi: CdmiClient, sql: Connection, storage: str) -> None:
    """1.1.1 §13.3. 2.0 has no such query."""
    given = {**outside(OUTSIDE)["exports"], "OCCI/iSCSI": {"permissions": []}}  # type: ignore[dict-item]
    make(cdmi, "data", exports=given)
    serve(sql)
    for asked, expected in {
        "protocol=Network/iSCSI": {ISCSI},
        "protocol=OCCI%2FiSCSI,user=somebody": {"OCCI/iSCSI"},
        'protocol=all,verbose="false"': {ISCSI, "OCCI/iSCSI"},
        "user=,verbose=true": {ISCSI, "OCCI/iSCSI"},
        "protocol=Network/NFSv4": set(),
    }.items():
        found = cdmi.send("GET", f"/cdmi/disks/data/?exports:{asked}", CONTAINER)
        assert (found.status_code, found.json.get("exports", {}).keys()) == (200, expected), asked
    for wrong in ("Network/iSCSI", "protocols=all", "verbose=5", "protocol=all,protocol=all"):
        assert cdmi.send("GET", f"/cdmi/disks/data/?exports:{wrong}", CONTAINER).status_code == 400, wrong
    assert cdmi.send("GET", "/cdmi/2.0.0/disks/data/?exports=x", CONTAINER).json["exports"].keys() == {
        ISCSI,
        "OCCI/iSCSI",
    }


def test_exports_of_2_0_have_the_client_s_names_and_a_type(cdmi: CdmiClient, sql: Connection, storage: str) -> None:
    root = "/cdmi/2.0.0/"
    given = {"1": {"type": "iSCSI", "permissions": [OUTSIDE]}, "mine": {"type": "OCCI/iSCSI", "permissions": []}}
    object_id = make(cdmi, "data", root=root, exports=given)
    serve(sql)
    shown = exports_of(cdmi, "data", root)
    assert (shown["1"]["type"], shown["1"]["permissions"]) == ("iSCSI", [OUTSIDE])
    assert shown["mine"] == {"type": "OCCI/iSCSI", "identifier": object_id, "permissions": []}
    assert exports_of(cdmi, "data").keys() == {ISCSI, "OCCI/iSCSI"}
    assert cdmi.send("PATCH", f"{root}disks/data/", CONTAINER, {"exports": shown}).status_code == 204
    assert exports_of(cdmi, "data", root) == shown
    twice = {"exports": {"1": given["1"], "2": given["1"]}}
    assert cdmi.send("PATCH", f"{root}disks/data/", CONTAINER, twice).status_code == 400


def test_the_secret_is_shown_in_the_export_to_its_project_and_nowhere_else(
    cdmi: CdmiClient,
    occi: OcciClient,
    database: Database,
    other_cloud: Cloud,
    sql: Connection,
    storage: str,
    tmp_path: Path,
) -> None:
    object_id = make(cdmi, "data", **outside(OUTSIDE))
    serve(sql)
    secret = exports_of(cdmi, "data")[ISCSI]["chap_secrets"][OUTSIDE]  # type: ignore[index]
    elsewhere = [
        cdmi.send("GET", "/cdmi/disks/", CONTAINER).text,
        cdmi.send("GET", "/cdmi/", CONTAINER).text,
        cdmi.send("GET", "/cdmi/disks/data/?metadata", CONTAINER).text,
        cdmi.plain("GET", "/cdmi/disks/data/", Accept="text/html").text,
        cdmi.plain("GET", "/cdmi/disks/", Accept="text/html").text,
        cdmi.plain("GET", "/cdmi/disks/data/").text,
        cdmi.send("PUT", "/cdmi/tree", "application/cdmi-object", {"serialize": "/"}).text,
        cdmi.plain("GET", "/cdmi/tree").text,
        occi.text(storage_of(object_id)),
        occi.text(storage_of(object_id), accept="text/html"),
        occi.text("/storage/", accept="application/occi+json"),
        str(sql.execute("SELECT array_agg(args::text) FROM procrastinate_jobs").fetchall()),
    ]
    assert [text for text in elsewhere if secret in text] == []
    other = CdmiClient(database, other_cloud.caller, tmp_path)
    for path in ("/cdmi/disks/data/?exports", f"/cdmi/cdmi_objectid/{object_id}/?exports"):
        assert other.send("GET", path, CONTAINER).status_code == 404


def test_the_page_of_a_disk_tells_people_of_its_exports(
    cdmi: CdmiClient, occi: OcciClient, sql: Connection, storage: str
) -> None:
    compute = occi.make("/compute/", COMPUTE)
    object_id = make(cdmi, "data", **outside(OUTSIDE))
    serve(sql)
    hostile = "<script>alert(1)</script>"
    given = {
        hostile: {"type": "iSCSI", "permissions": [OUTSIDE]},
        "inside": {"type": "OCCI/iSCSI", "permissions": [f"{ORIGIN}{compute}"]},
    }
    changed = cdmi.send("PATCH", "/cdmi/2.0.0/disks/data/", CONTAINER, {"exports": given})
    assert changed.status_code == 204, changed.text
    serve(sql)
    secret = exports_of(cdmi, "data")[ISCSI]["chap_secrets"][OUTSIDE]  # type: ignore[index]
    for root, name in (("/cdmi/", ISCSI), ("/cdmi/2.0.0/", "&lt;script&gt;alert(1)&lt;/script&gt;")):
        page = cdmi.plain("GET", f"{root}disks/data/", Accept="text/html").text
        for told in (object_id, "Complete", f"Export {name}", OUTSIDE, f"{ORIGIN}{compute}"):
            assert told in page
        assert "<script" not in page
        assert secret not in page
    above = cdmi.send("GET", "/cdmi/disks/", CONTAINER).json["objectID"]
    assert above in cdmi.plain("GET", "/cdmi/disks/", Accept="text/html").text
    root_id = cdmi.send("GET", "/cdmi/", CONTAINER).json["objectID"]
    assert root_id in cdmi.plain("GET", "/cdmi/", Accept="text/html").text


def test_exports_by_iscsi_that_can_not_be_are_refused_with_the_reason(
    cdmi: CdmiClient, occi: OcciClient, sql: Connection, storage: str
) -> None:
    object_id = make(cdmi, "data")
    serve(sql)

    def refusal(status: int, export: object, name: str = "data") -> str:
        answer = cdmi.send("PUT", f"/cdmi/disks/{name}/", CONTAINER, {"exports": {ISCSI: export}})
        assert answer.status_code == status, answer.text
        return str(answer.text)

    assert "no permissions" in refusal(400, {})
    assert "takes one" in refusal(400, {"permissions": [OUTSIDE, f"{OUTSIDE}2"]})
    for nobody in ("nobody", "eui.0200", "eui.02004567A425678D", "naa.02004567ba64678d", "iqn.2026-01.org.example:a b"):
        assert "initiator" in refusal(400, {"permissions": [nobody]})
    for wrong in (5, [5], {"iqn": OUTSIDE}, None):
        assert "array" in refusal(400, {"permissions": wrong})
    assert "parameters" in refusal(400, {"permissions": [OUTSIDE], "parameters": "x"})
    assert "chosen" in refusal(400, {"permissions": [OUTSIDE], "chap_secrets": {OUTSIDE: "mine-of-16-chars"}})
    refusal(400, [OUTSIDE])
    assert exports_of(cdmi, "data") == {}

    compute = occi.make("/compute/", COMPUTE)
    ends = f'occi.core.source="{compute}", occi.storagelink.deviceid="{object_id}"'
    link = occi.make("/storagelink/", STORAGE_LINK, attributes=ends)
    assert f"attached to the compute {compute.rpartition('/')[2]}" in refusal(409, {"permissions": [OUTSIDE]})
    sql.execute("DELETE FROM attachment WHERE id = %s", [link.rpartition("/")[2]])
    assert cdmi.send("PUT", "/cdmi/disks/data/", CONTAINER, outside(OUTSIDE)).status_code == 202
    attached = occi.send("POST", "/storagelink/", STORAGE_LINK, attributes=ends)
    assert (attached.status_code, f"exported to the initiator {OUTSIDE}" in attached.text) == (409, True)
    deleted = cdmi.send("DELETE", "/cdmi/disks/data/", CONTAINER)
    assert (deleted.status_code, "exported" in deleted.text) == (409, True)


def test_without_a_storage_host_no_disk_is_exported_and_none_is_said_to_be(cdmi: CdmiClient, sql: Connection) -> None:
    make(cdmi, "data")
    settle(sql)
    refused = cdmi.send("PUT", "/cdmi/disks/data/", CONTAINER, outside(OUTSIDE))
    assert (refused.status_code, "serves no disks" in refused.text) == (409, True)
    body = {"metadata": {"cdmi_assignedsize": "1048576"}, **outside(OUTSIDE)}
    assert cdmi.send("PUT", "/cdmi/disks/other/", CONTAINER, body).status_code == 409
    assert cdmi.send("GET", "/cdmi/disks/other/", CONTAINER).status_code == 404
    node = cdmi.send("GET", "/cdmi/disks/data/?capabilitiesURI", CONTAINER).json["capabilitiesURI"]
    assert "cdmi_export_container_iscsi" not in cdmi.send("GET", node, CAPABILITY).json["capabilities"]
    assert "cdmi_export_iscsi" not in cdmi.send("GET", "/cdmi/cdmi_capabilities/", CAPABILITY).json["capabilities"]
    assert exports_claimed_of_disks(cdmi) == {"cdmi_export_container_occi"}


def test_what_is_made_with_an_export_by_iscsi_waits_for_room_on_a_storage_host(
    cdmi: CdmiClient, sql: Connection, storage: str
) -> None:
    sql.execute("UPDATE host SET disk_bytes = 0 WHERE name = %s", [storage])
    make(cdmi, "data", **outside(OUTSIDE))
    assert sql.execute("SELECT pool, host FROM disk").fetchone() == ("iscsi", None)
    shown = cdmi.send("GET", "/cdmi/disks/data/", CONTAINER).json
    assert (shown["completionStatus"], shown["exports"][ISCSI]["permissions"]) == ("Processing", [OUTSIDE])
    beside = {"metadata": {"cdmi_assignedsize": "1048576", "altostratus_pool": "file"}, **outside(OUTSIDE)}
    assert cdmi.send("PUT", "/cdmi/disks/beside/", CONTAINER, beside).status_code == 409
    make(cdmi, "source", metadata={"cdmi_assignedsize": "1048576", "altostratus_pool": "file"})
    settle(sql)
    copy = cdmi.send("PUT", "/cdmi/disks/copy/", CONTAINER, {"copy": "/disks/source/", **outside(OUTSIDE)})
    assert (copy.status_code, "serves no disks" in copy.text) == (409, True)


def test_with_a_storage_host_exports_by_iscsi_are_claimed(cdmi: CdmiClient, storage: str) -> None:
    claimed = cdmi.send("GET", "/cdmi/cdmi_capabilities/", CAPABILITY).json["capabilities"]
    assert (claimed["cdmi_export_iscsi"], claimed["cdmi_export_occi_iscsi"]) == ("true", "true")
    assert exports_claimed_of_disks(cdmi) == {"cdmi_export_container_occi", "cdmi_export_container_iscsi"}


def exports_claimed_of_disks(cdmi: CdmiClient) -> set[str]:
    """By the container in which they are made (1.1.1 §13.7.2)."""
    node = cdmi.send("GET", "/cdmi/disks/?capabilitiesURI", CONTAINER).json["capabilitiesURI"]
    claimed = cdmi.send("GET", node, CAPABILITY).json["capabilities"]
    return {name for name in claimed if name.startswith("cdmi_export_")}


def turn_off(sql: Connection, compute: str) -> None:
    """Takes it to be off, as its agent would report."""
    sql.execute(
        "UPDATE machine SET wanted = 'inactive', state = 'inactive', admitted = false WHERE id = %s",
        [compute.rpartition("/")[2]],
    )


def test_in_the_standard_s_order_a_compute_is_made_with_the_disk_then_permitted_then_started(
    cdmi: CdmiClient, occi: OcciClient, sql: Connection
) -> None:
    """1.1.1 §13.1: the permission names the compute, which is therefore there before it."""
    object_id = make(cdmi, "data", exports={"OCCI/iSCSI": {"permissions": []}})
    settle(sql)
    rel = "http://schemas.ogf.org/occi/infrastructure#storage"
    inline = f'<{storage_of(object_id)}>; rel="{rel}"; category="{rel}link"; occi.storagelink.deviceid="{object_id}"'
    compute = occi.make("/compute/", COMPUTE, link=inline)
    shown = occi.document(compute)["attributes"]
    assert shown["occi.compute.state"] == "inactive"  # type: ignore[index]
    assert "not in the permissions" in shown["occi.compute.state.message"]  # type: ignore[index]

    def start() -> tuple[int, str]:
        answer = occi.send("POST", f"{compute}?action=start", action("compute", "start"))
        return answer.status_code, str(answer.text)

    status, reason = start()
    assert (status, "is not in the permissions of the storage" in reason) == (403, True)
    export(cdmi, "data", compute)
    assert start()[0] == 200
    assert occi.document(compute)["attributes"]["occi.compute.state"] == "inactive"  # type: ignore[index]


def test_a_compute_that_is_off_is_given_the_disk_before_the_permission_and_may_lose_it(
    cdmi: CdmiClient, occi: OcciClient, sql: Connection
) -> None:
    object_id = make(cdmi, "data", exports={"OCCI/iSCSI": {"permissions": []}})
    settle(sql)
    compute = occi.make("/compute/", COMPUTE)
    link = f'occi.core.source="{compute}", occi.storagelink.deviceid="{object_id}"'
    assert occi.send("POST", "/storagelink/", STORAGE_LINK, attributes=link).status_code == 403
    turn_off(sql, compute)
    occi.make("/storagelink/", STORAGE_LINK, attributes=link)
    start = action("compute", "start")
    assert occi.send("POST", f"{compute}?action=start", start).status_code == 403
    export(cdmi, "data", compute)
    export(cdmi, "data")
    assert occi.send("POST", f"{compute}?action=start", start).status_code == 403
    export(cdmi, "data", compute)
    assert occi.send("POST", f"{compute}?action=start", start).status_code == 200
    withdrawn = {"exports": {"OCCI/iSCSI": {"permissions": []}}}
    assert cdmi.send("PUT", "/cdmi/disks/data/", CONTAINER, withdrawn).status_code == 409

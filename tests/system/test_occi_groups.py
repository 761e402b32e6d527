"""Security groups through HTTP and the real door: what EGI's clients send, and who may do what."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Barrier
from uuid import UUID, uuid4

import pytest
from occi_client import COMPUTE, INFRASTRUCTURE, ORIGIN, Client
from psycopg.types.json import Jsonb

from backends.agent.groups import _policies
from backends.cloud import Cloud
from backends.cloud.groups import GROUPS_OF_MACHINE_MAX
from backends.errors import CloudError, Conflict
from backends.model import Direction, GroupRule, NewGroup, NewGroupLink, NewMachine
from backends.networks.groups import Policy
from backends.store.database import Connection, query

GROUP = f'securitygroup; scheme="{INFRASTRUCTURE}"; class="kind"'
GROUP_LINK = f'securitygrouplink; scheme="{INFRASTRUCTURE}"; class="kind"'
WEB = [
    {"type": "inbound", "protocol": "tcp", "port": "80-81", "range": "192.0.2.0/24"},
    {"type": "outbound", "protocol": "all"},
]


@pytest.fixture
def client(cloud: Cloud, image: str) -> Client:
    return Client(cloud)


def rules_in_header(rules: object) -> str:
    escaped = json.dumps(rules).replace('"', '\\"')
    return f'occi.securitygroup.rules="{escaped}"'


def make_group(client: Client, rules: object = WEB) -> str:
    return client.make("/securitygroup/", GROUP, attributes=f'occi.core.title="web", {rules_in_header(rules)}')


def shown_rules(client: Client, path: str) -> object:
    shown = client.send("GET", path, accept="application/occi+json").json
    return shown["attributes"]["occi.securitygroup.rules"]


def identity(path: str) -> UUID:
    return UUID(path.rpartition("/")[2])


def applied(sql: Connection, machine_id: UUID) -> Policy:
    """What an agent makes of the groups of a machine that has one interface."""
    row = sql.execute(
        "SELECT interface_id, project_id, network_id, group_ids FROM interface_groups WHERE machine_id = %s",
        [machine_id],
    ).fetchone()
    assert row is not None
    return _policies(sql, [row])[row[0]]


def test_rules_come_back_as_they_were_sent_in_text_and_json(client: Client) -> None:
    path = make_group(client)
    assert shown_rules(client, path) == WEB
    body = {"kind": f"{INFRASTRUCTURE}securitygroup", "attributes": {"occi.securitygroup.rules": WEB[:1]}}
    sent = client.send("PUT", path, body=json.dumps(body), content_type="application/occi+json")
    assert sent.status_code == 200
    assert shown_rules(client, path) == WEB[:1]
    assert "192.0.2.0/24" in client.text(path)


def test_rules_as_ooi_writes_them_are_understood(client: Client) -> None:
    path = make_group(
        client,
        [
            {"type": "inbound", "protocol": "tcp", "port": 22, "range": "192.0.2.7/24", "ipversion": "IPv4"},
            {"type": "outbound", "protocol": "UDP", "ipversion": "IPv6"},
        ],
    )
    assert shown_rules(client, path) == [
        {"type": "inbound", "protocol": "tcp", "port": "22", "range": "192.0.2.0/24"},
        {"type": "outbound", "protocol": "udp", "range": "::/0"},
    ]


@pytest.mark.parametrize(
    "rules",
    [
        {"type": "inbound"},
        [{}],
        [1],
        [{"type": "sideways", "protocol": "tcp"}],
        [{"type": "inbound", "protocol": "ipsec"}],
        [{"type": "inbound", "protocol": "icmp", "port": "8"}],
        [{"type": "inbound", "protocol": "tcp", "port": "0x16"}],
        [{"type": "inbound", "protocol": "tcp", "port": "70000"}],
        [{"type": "inbound", "protocol": "tcp", "port": "9-8"}],
        [{"type": "inbound", "protocol": "tcp", "port": {}}],
        [{"type": "inbound", "protocol": "tcp", "range": "10.0.0.0/33"}],
        [{"type": "inbound", "protocol": "tcp", "range": 7}],
        [{"type": "inbound", "protocol": "tcp", "range": "fe80::%foo/10"}],
        [{"type": "inbound", "protocol": "tcp", "range": "10.0.0.5/0.0.0.255"}],
        [{"type": "inbound", "protocol": "tcp", "range": "10.0.0.0/8", "ipversion": "IPv6"}],
        [{"type": "inbound", "protocol": "tcp", "group": "nobody"}],
        [{"type": "inbound", "protocol": "tcp", "group": f"/securitygroup/{uuid4()}"}],
        [{"type": "inbound", "protocol": "tcp", "group": f"/compute/{uuid4()}"}],
        [{"type": "inbound", "protocol": "tcp", "group": f"http://evil.example/securitygroup/{uuid4()}"}],
        [{"type": "inbound", "protocol": "tcp", "group": 7}],
        [{"type": "inbound", "protocol": "tcp", "drop": True}],
        [{"type": "inbound", "protocol": "tcp", "port": str(port)} for port in range(101)],
        "not JSON",
    ],
)
def test_rules_that_mean_nothing_are_refused(client: Client, rules: object) -> None:
    sent = client.send("POST", "/securitygroup/", GROUP, attributes=rules_in_header(rules))
    assert sent.status_code == 400
    assert "occi.securitygroup.rules" in sent.text or "rule" in sent.text


def test_rule_names_a_group_by_its_path_or_by_its_url_here_but_not_by_one_elsewhere(client: Client) -> None:
    path = make_group(client)
    for place in (path, f"{ORIGIN}{path}"):
        rules = [{"type": "inbound", "protocol": "tcp", "group": place}]
        named = make_group(client, rules)
        assert shown_rules(client, named) == [{"type": "inbound", "protocol": "tcp", "group": path}]
        body = {"kind": f"{INFRASTRUCTURE}securitygroup", "attributes": {"occi.securitygroup.rules": rules}}
        sent = client.send("PUT", named, body=json.dumps(body), content_type="application/occi+json")
        assert sent.status_code == 200
    for elsewhere in (f"http://evil.example{path}", f"//evil.example{path}", f"ftp://evil.example{path}"):
        refused = rules_in_header([{"type": "inbound", "protocol": "tcp", "group": elsewhere}])
        sent = client.send("POST", "/securitygroup/", GROUP, attributes=refused)
        assert sent.status_code == 400
        assert "occi.securitygroup.rules is" in sent.text


def test_rule_for_a_group_and_an_ip_version_is_refused_by_what_was_sent(client: Client) -> None:
    path = make_group(client)
    both = rules_in_header([{"type": "inbound", "protocol": "tcp", "group": path, "ipversion": "IPv4"}])
    sent = client.send("POST", "/securitygroup/", GROUP, attributes=both)
    assert sent.status_code == 400
    assert "both a group and a range or IP version" in sent.text


def test_every_project_has_a_default_group_that_stays(client: Client, cloud: Cloud) -> None:
    only = cloud.groups()
    assert [(group.title, group.is_default) for group in only] == [("default", True)]
    path = f"/securitygroup/{only[0].id}"
    assert client.send("DELETE", path).status_code == 403
    assert client.send("DELETE", "/securitygroup/").status_code == 200
    assert client.send("GET", path).status_code == 200
    assert shown_rules(client, path) == [
        {"type": "outbound", "protocol": "all"},
        {"type": "inbound", "protocol": "all", "group": path},
        {"type": "inbound", "protocol": "tcp", "port": "22"},
        {"type": "inbound", "protocol": "icmp"},
    ]


def test_compute_in_no_group_has_the_default_one_and_its_members(cloud: Cloud, sql: Connection) -> None:
    first, second = cloud.create_machine(NewMachine()), cloud.create_machine(NewMachine())
    policy = applied(sql, first.id)
    default = cloud.groups()[0]
    assert policy.group_ids == (default.id,)
    assert policy.rules == default.rules
    assert policy.members == {default.id: frozenset({first.interfaces[0].mac, second.interfaces[0].mac})}


def test_compute_is_in_the_groups_that_it_is_linked_to_and_shows_it(
    client: Client, cloud: Cloud, sql: Connection
) -> None:
    group = make_group(client)
    compute = client.make("/compute/", COMPUTE, link=f'<{group}>; rel="{INFRASTRUCTURE}securitygroup"')
    link = cloud.group_links()[0]
    assert f"</securitygroup/{link.group_id}>" in client.text(compute)
    assert f'self="/securitygrouplink/{link.id}"' in client.text(compute)
    assert applied(sql, identity(compute)).group_ids == (identity(group),)
    assert client.send("DELETE", f"/securitygrouplink/{link.id}").status_code == 200
    assert applied(sql, identity(compute)).group_ids == (cloud.groups()[0].id,)


def test_group_is_joined_and_left_while_the_compute_runs(client: Client, cloud: Cloud, sql: Connection) -> None:
    group, compute = make_group(client), client.make("/compute/", COMPUTE)
    sql.execute("DELETE FROM procrastinate_jobs")
    ends = f'occi.core.source="{ORIGIN}{compute}", occi.core.target="{ORIGIN}{group}"'
    link = client.make("/securitygrouplink/", GROUP_LINK, attributes=ends)
    jobs = {
        (row[0], UUID(row[1]))
        for row in sql.execute("SELECT args->>'kind', args->>'resource_id' FROM procrastinate_jobs")
    }
    default = cloud.groups()[0].id
    assert jobs == {("machine", identity(compute)), ("group", identity(group)), ("group", default)}
    assert "occi.core.target.kind" in client.text(link) or group in client.text(link)
    assert client.send("POST", "/securitygrouplink/", GROUP_LINK, attributes=ends).status_code == 409
    assert client.send("DELETE", group).status_code == 409
    assert client.send("DELETE", link).status_code == 200
    assert client.send("DELETE", group).status_code == 200


def test_compute_joins_each_group_once_and_no_more_than_it_may_whoever_asks_at_once(cloud: Cloud) -> None:
    machine = cloud.create_machine(NewMachine()).id
    groups = [cloud.create_group(NewGroup()).id for _ in range(GROUPS_OF_MACHINE_MAX + 4)]

    def join(group_id: UUID) -> bool:
        try:
            Cloud(cloud._database, cloud.caller, cloud._sizes, "small").join_group(machine, NewGroupLink(group_id))
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(join, groups[:1] * 8)) == 1
        assert sum(pool.map(join, groups[1:])) == GROUPS_OF_MACHINE_MAX - 1


def test_group_that_goes_takes_the_rules_about_it_along(client: Client) -> None:
    first = make_group(client)
    second = make_group(client, [*WEB, {"type": "inbound", "protocol": "all", "group": first}])
    assert client.send("DELETE", first).status_code == 200
    assert shown_rules(client, second) == WEB


def at_once(cloud: Cloud, changes: Sequence[Callable[[Cloud], object]]) -> None:
    """All by clients of their own, who may be refused, but not told to try again."""
    begun = Barrier(len(changes))

    def client(change: Callable[[Cloud], object]) -> None:
        own = Cloud(cloud._database, cloud.caller, cloud._sizes, "small")
        begun.wait()
        with suppress(CloudError):
            change(own)

    with ThreadPoolExecutor(len(changes)) as pool:
        list(pool.map(client, changes))


def naming(*group_ids: UUID) -> tuple[GroupRule, ...]:
    return tuple(GroupRule(Direction.IN, "tcp", group_id=group_id) for group_id in group_ids)


def named_groups_that_are_gone(sql: Connection) -> list[tuple[object, ...]]:
    return sql.execute(
        "SELECT g.id, rule FROM security_group g, jsonb_array_elements(g.rules) AS listed (rule)"
        " WHERE rule ->> 5 IS NOT NULL AND NOT EXISTS (SELECT FROM security_group n WHERE n.id::text = rule ->> 5)"
    ).fetchall()


def test_group_that_goes_while_rules_about_it_are_made_takes_them_along(cloud: Cloud, sql: Connection) -> None:
    for _ in range(12):
        gone, other = cloud.create_group(NewGroup()).id, cloud.create_group(NewGroup()).id
        at_once(
            cloud,
            [
                partial(Cloud.delete_group, group_id=gone),
                partial(Cloud.update_group, group_id=other, changes={"rules": naming(gone)}),
                partial(Cloud.update_group, group_id=other, changes={"rules": naming(gone, other)}),
                partial(Cloud.create_group, new=NewGroup(rules=naming(gone))),
            ],
        )
        assert named_groups_that_are_gone(sql) == []


def test_groups_that_name_each_other_are_changed_joined_and_deleted_at_once(cloud: Cloud, sql: Connection) -> None:
    for _ in range(6):
        groups = [cloud.create_group(NewGroup()).id for _ in range(4)]
        for group_id in groups:
            cloud.update_group(group_id, {"rules": naming(*groups)})
        backwards = tuple(map(NewGroupLink, reversed(groups)))
        deletions = [partial(Cloud.delete_group, group_id=group_id) for group_id in groups]
        changes = [
            partial(Cloud.update_group, group_id=group_id, changes={"rules": naming(*groups)}) for group_id in groups
        ]
        at_once(cloud, [*deletions, *changes, partial(Cloud.create_machine, new=NewMachine(groups=backwards))])
        assert named_groups_that_are_gone(sql) == []


def test_rule_lets_in_nobody_of_another_project_even_if_that_takes_the_identity_of_its_group(
    cloud: Cloud, other_cloud: Cloud, sql: Connection
) -> None:
    mine, theirs = cloud.create_machine(NewMachine()), other_cloud.create_machine(NewMachine())
    taken = other_cloud.create_group(NewGroup()).id
    other_cloud.join_group(theirs.id, NewGroupLink(taken))
    sql.execute(
        "UPDATE security_group SET rules = %s WHERE id = %s",
        [Jsonb([["in", "tcp", None, None, None, str(taken)]]), cloud.groups()[0].id],
    )
    sql.execute(
        "UPDATE security_group SET rules = %s WHERE id = %s",
        [Jsonb([["in", "tcp", None, None, None, str(taken)]]), taken],
    )
    rows = sql.execute(query("groups.policies_of_host"), {"host": mine.host or "rack1"}).fetchall()
    policies = _policies(sql, rows)
    ours, others = policies[mine.interfaces[0].id], policies[theirs.interfaces[0].id]
    assert ours.members == {taken: frozenset()}
    assert others.members == {taken: frozenset({theirs.interfaces[0].mac})}
    assert ours.member_set(taken) != others.member_set(taken)


def test_other_projects_see_and_use_none_of_it(cloud: Cloud, other_cloud: Cloud, image: str) -> None:
    mine, theirs = Client(cloud), Client(other_cloud)
    group, compute = make_group(mine), theirs.make("/compute/", COMPUTE)
    assert theirs.send("GET", group).status_code == 404
    assert theirs.send("DELETE", group).status_code == 404
    changed = theirs.send("POST", group, GROUP, attributes=rules_in_header([]))
    assert changed.status_code == 404
    ends = f'occi.core.source="{compute}", occi.core.target="{group}"'
    assert theirs.send("POST", "/securitygrouplink/", GROUP_LINK, attributes=ends).status_code == 404
    named = rules_in_header([{"type": "inbound", "protocol": "all", "group": group}])
    assert theirs.send("POST", "/securitygroup/", GROUP, attributes=named).status_code == 400
    assert theirs.send("POST", "/compute/", COMPUTE, link=f"<{group}>").status_code == 404


def test_members_are_those_of_the_same_network_and_live(cloud: Cloud, sql: Connection) -> None:
    group = cloud.create_group(NewGroup(rules=(GroupRule(Direction.OUT),)))
    named = GroupRule(Direction.IN, group_id=cloud.groups()[0].id)
    cloud.update_group(group.id, {"rules": (named,)})
    assert cloud.group(group.id).rules == (named,)
    member = cloud.create_machine(NewMachine())
    cloud.delete_machine(member.id)
    rows = sql.execute(query("groups.policies_of_host"), {"host": "rack1"}).fetchall()
    assert rows == []


def test_filter_finds_a_group_by_its_rules(client: Client) -> None:
    path = make_group(client)
    found = client.send("GET", "/securitygroup/", attributes=rules_in_header(WEB), accept="text/uri-list")
    assert found.text.split() == [f"{ORIGIN}{path}"]
    found = client.send("GET", "/securitygroup/", attributes=rules_in_header(WEB[:1]), accept="text/uri-list")
    assert found.text.split() == []

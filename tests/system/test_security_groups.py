"""Security groups on a real kernel: frames through a bridge with the table, in namespaces of the test's own."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from backends.model import Direction, GroupRule
from backends.networks.flows import share_of
from backends.networks.groups import Groups, Policy
from backends.networks.spec import tap_name
from tests.system.frames import ACK, FIN, SYN, Guest, ethernet, guest_on, inside, packet, passes, run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces")

TAG = "zg12ab"
TABLE = f"altostratus_{TAG}_groups"
BRIDGE = "br0"
PROJECT, NETWORK = uuid4(), uuid4()
FLOWS_MAX = 65535
OUT_OPEN = GroupRule(Direction.OUT)
FAMILIES = (4, 6)


@pytest.fixture
def bridge() -> Iterator[str]:
    name = f"{TAG}host"
    run("ip", "netns", "add", name)
    try:
        with inside(name):
            run("ip", "link", "add", BRIDGE, "type", "bridge", "mcast_snooping", "0", "forward_delay", "0")
            run("ip", "link", "set", BRIDGE, "up")
            yield BRIDGE
    finally:
        run("ip", "netns", "delete", name)


@pytest.fixture
def groups(bridge: str) -> Iterator[Groups]:
    made = Groups(TAG)
    yield made
    made.restore({})
    assert TAG not in run("nft", "list", "tables")


class Site:
    """Guests and their policies, all of which are in force."""

    def __init__(self, groups: Groups, stack: contextlib.ExitStack) -> None:
        self.groups = groups
        self.ports: dict[UUID, Policy] = {}
        self._stack = stack
        self._numbers = itertools.count(2)

    def guest(self, *rules: GroupRule, policy: Policy | None = None) -> Guest:
        interface_id = uuid4()
        self.ports[interface_id] = policy or Policy(PROJECT, NETWORK, (uuid4(),), rules)
        self.groups.restore(self.ports)
        return self._stack.enter_context(guest_on(BRIDGE, tap_name(TAG, interface_id), next(self._numbers)))

    def change(self, guest: Guest, *rules: GroupRule) -> None:
        _, old = next(item for item in self.ports.items() if tap_name(TAG, item[0]) == guest.tap)
        changed = replace(old, rules=rules)
        self.ports = {found: changed if policy == old else policy for found, policy in self.ports.items()}
        assert self.groups.ensure_policies([changed])


@pytest.fixture
def site(groups: Groups) -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        yield Site(groups, stack)


def rule_in(protocol: str | None = None, ports: tuple[int, int] | None = None, **other: object) -> GroupRule:
    return GroupRule(Direction.IN, protocol, ports, **other)  # type: ignore[arg-type]


# What begins


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_only_ports_of_a_rule_let_packets_in(site: Site, protocol: str, family: int) -> None:
    client, server = site.guest(OUT_OPEN), site.guest(rule_in(protocol, (80, 90)))
    other = "udp" if protocol == "tcp" else "tcp"
    assert passes(client, server, packet(client, server, protocol, 999, 80, family=family))
    assert passes(client, server, packet(client, server, protocol, 999, 90, family=family))
    assert not passes(client, server, packet(client, server, protocol, 999, 79, family=family))
    assert not passes(client, server, packet(client, server, protocol, 999, 91, family=family))
    assert not passes(client, server, packet(client, server, protocol, 80, 999, family=family))
    assert not passes(client, server, packet(client, server, other, 999, 80, family=family))
    assert not passes(client, server, packet(client, server, "echo-request", family=family))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_only_ports_of_a_rule_let_packets_out(site: Site, protocol: str, family: int) -> None:
    client = site.guest(GroupRule(Direction.OUT, protocol, (53, 53)))
    server = site.guest(rule_in())
    assert passes(client, server, packet(client, server, protocol, 999, 53, family=family))
    assert not passes(client, server, packet(client, server, protocol, 999, 54, family=family))
    assert not passes(client, server, packet(client, server, "echo-request", family=family))


@pytest.mark.parametrize("family", FAMILIES)
def test_ping_is_let_in_and_no_other_icmp(site: Site, family: int) -> None:
    client, server = site.guest(OUT_OPEN), site.guest(rule_in("icmp"))
    assert passes(client, server, packet(client, server, "echo-request", family=family))
    assert passes(server, client, packet(server, client, "echo-reply", family=family))
    assert not passes(client, server, packet(client, server, "redirect", family=family))
    assert passes(client, server, packet(client, server, "unreachable", family=family))


@pytest.mark.parametrize("family", FAMILIES)
def test_rule_for_all_protocols_takes_whatever_comes(site: Site, family: int) -> None:
    client, server = site.guest(OUT_OPEN), site.guest(rule_in())
    for protocol in ("tcp", "udp", "gre", "echo-request"):
        assert passes(client, server, packet(client, server, protocol, 999, 80, family=family))
    assert passes(client, server, ethernet(client, server, 0x88B5, b"neither IPv4 nor IPv6"))


def test_remote_subnet_is_that_of_one_family(site: Site) -> None:
    near, far = site.guest(OUT_OPEN), site.guest(OUT_OPEN)
    server = site.guest(rule_in("tcp", (22, 22), remote="10.9.0.2/32"), rule_in("tcp", (23, 23), remote="fd00::2/127"))
    for sender in (near, far):
        is_near = sender is near
        assert passes(sender, server, packet(sender, server, "tcp", 9, 22)) is is_near
        assert passes(sender, server, packet(sender, server, "tcp", 9, 23, family=6))  # fd00::2 and fd00::3
        assert not passes(sender, server, packet(sender, server, "tcp", 9, 22, family=6))
        assert not passes(sender, server, packet(sender, server, "tcp", 9, 23))


def test_subnet_of_everybody_says_which_family(site: Site) -> None:
    client, server = site.guest(OUT_OPEN), site.guest(rule_in("tcp", (22, 22), remote="0.0.0.0/0"))
    assert passes(client, server, packet(client, server, "tcp", 9, 22))
    assert not passes(client, server, packet(client, server, "tcp", 9, 22, family=6))


def test_members_of_a_group_reach_each_other_and_nobody_else_does(site: Site) -> None:
    group = uuid4()
    macs = frozenset({"52:54:00:00:00:02", "52:54:00:00:00:03"})
    policy = Policy(PROJECT, NETWORK, (group,), (OUT_OPEN, rule_in(group_id=group)), {group: macs})
    one, two, stranger = site.guest(policy=policy), site.guest(policy=policy), site.guest(OUT_OPEN)
    for family in FAMILIES:
        assert passes(one, two, packet(one, two, "udp", 9, 9, family=family))
        assert passes(two, one, packet(two, one, "tcp", 9, 9, family=family))
        assert not passes(stranger, one, packet(stranger, one, "udp", 9, 9, family=family))
        assert passes(one, stranger, packet(one, stranger, "udp", 5, 5, family=family)) is False
    assert passes(one, two, ethernet(one, two, 0x88B5, b"neither IPv4 nor IPv6"))


def test_member_that_comes_is_let_in_and_one_that_goes_is_not(site: Site) -> None:
    group = uuid4()
    server_policy = Policy(PROJECT, NETWORK, (uuid4(),), (rule_in(group_id=group),), {group: frozenset()})
    client, server = site.guest(OUT_OPEN), site.guest(policy=server_policy)
    assert not passes(client, server, packet(client, server, "udp", 9, 9))
    assert site.groups.ensure_policies([replace(server_policy, members={group: frozenset({client.mac})})])
    assert passes(client, server, packet(client, server, "udp", 9, 9))
    assert site.groups.ensure_policies([server_policy])
    assert not passes(client, server, packet(client, server, "udp", 9, 9))


def test_guest_without_groups_is_cut_off_but_for_what_addresses_need(site: Site) -> None:
    one, other = site.guest(), site.guest(rule_in())
    for family in FAMILIES:
        assert not passes(one, other, packet(one, other, "udp", 9, 9, family=family))
    assert passes(one, other, packet(one, other, "udp", 68, 67))
    assert passes(one, other, packet(one, other, "udp", 546, 547, family=6))
    assert not passes(one, other, packet(one, other, "udp", 67, 68))
    assert not passes(one, other, ethernet(one, other, 0x88B5, b"neither IPv4 nor IPv6"))


def test_tap_that_has_no_policy_passes_nothing(site: Site) -> None:
    known = site.guest(rule_in(), OUT_OPEN)
    with guest_on(BRIDGE, tap_name(TAG, uuid4()), 77) as unknown:
        assert not passes(unknown, known, packet(unknown, known, "udp", 9, 9))
        assert not passes(known, unknown, packet(known, unknown, "udp", 9, 9))


def test_later_fragments_follow_and_first_ones_need_a_rule(site: Site) -> None:
    client, server = site.guest(OUT_OPEN), site.guest(rule_in("udp", (53, 53)))
    for family in FAMILIES:
        assert passes(client, server, packet(client, server, "udp", 1, 1, family=family, fragment=1480))
        assert not passes(client, server, packet(client, server, "udp", 1, 1, family=family))


# What answers


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_answers_come_in_and_nothing_else_does(site: Site, protocol: str, family: int) -> None:
    client, server = site.guest(OUT_OPEN), site.guest(rule_in(), OUT_OPEN)
    answer = packet(server, client, protocol, 80, 999, family=family, flags=ACK)
    assert not passes(server, client, answer)
    assert passes(client, server, packet(client, server, protocol, 999, 80, family=family))
    assert passes(server, client, answer)
    assert not passes(server, client, packet(server, client, protocol, 80, 998, family=family, flags=ACK))
    assert not passes(server, client, packet(server, client, protocol, 81, 999, family=family, flags=ACK))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_answers_go_out_without_a_rule_for_them(site: Site, protocol: str, family: int) -> None:
    client, server = site.guest(OUT_OPEN), site.guest(rule_in(protocol, (80, 80)))
    answer = packet(server, client, protocol, 80, 999, family=family, flags=ACK)
    assert not passes(server, client, answer)
    assert passes(client, server, packet(client, server, protocol, 999, 80, family=family))
    assert passes(server, client, answer)
    assert not passes(server, client, packet(server, client, protocol, 80, 998, family=family, flags=ACK))


@pytest.mark.parametrize("family", FAMILIES)
def test_ping_is_answered_and_unasked_answers_are_not_taken(site: Site, family: int) -> None:
    client, server = site.guest(OUT_OPEN), site.guest(rule_in(), OUT_OPEN)
    assert not passes(server, client, packet(server, client, "echo-reply", family=family))
    assert passes(client, server, packet(client, server, "echo-request", family=family))
    assert passes(server, client, packet(server, client, "echo-reply", family=family))
    assert not passes(server, client, packet(server, client, "echo-request", family=family))


@pytest.mark.parametrize("family", FAMILIES)
def test_both_sides_may_ping_each_other_at_once(site: Site, family: int) -> None:
    one, other = (site.guest(rule_in("icmp"), OUT_OPEN) for _ in range(2))
    for _ in range(2):
        for asking, asked in ((one, other), (other, one)):
            assert passes(asking, asked, packet(asking, asked, "echo-request", family=family))
            assert passes(asked, asking, packet(asked, asking, "echo-reply", family=family))


@pytest.mark.parametrize("family", FAMILIES)
def test_who_may_only_be_asked_is_answered_by_who_may_only_ask(site: Site, family: int) -> None:
    asking, asked = site.guest(OUT_OPEN, rule_in("icmp")), site.guest(rule_in("icmp"))
    assert passes(asking, asked, packet(asking, asked, "echo-request", family=family))
    assert passes(asked, asking, packet(asked, asking, "echo-reply", family=family))
    assert not passes(asked, asking, packet(asked, asking, "echo-request", family=family))
    assert passes(asking, asked, packet(asking, asked, "echo-request", family=family))


@pytest.mark.parametrize("family", FAMILIES)
def test_protocols_without_ports_are_answered_by_address(site: Site, family: int) -> None:
    client, server = site.guest(OUT_OPEN), site.guest(rule_in(), OUT_OPEN)
    assert not passes(server, client, packet(server, client, "gre", family=family))
    assert passes(client, server, packet(client, server, "gre", family=family))
    assert passes(server, client, packet(server, client, "gre", family=family))


# Rules that change while traffic flows


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_connection_of_a_removed_rule_is_cut_whoever_speaks(site: Site, protocol: str, family: int) -> None:
    client, server = site.guest(OUT_OPEN), site.guest(rule_in(protocol, (22, 23)), OUT_OPEN)
    request = packet(client, server, protocol, 999, 22, family=family, flags=ACK)
    answer = packet(server, client, protocol, 22, 999, family=family, flags=ACK)
    assert passes(client, server, packet(client, server, protocol, 999, 22, family=family))
    assert passes(server, client, answer)
    assert passes(client, server, request)
    site.change(server, rule_in(protocol, (23, 23)), OUT_OPEN)
    assert not passes(client, server, request)
    passes(server, client, answer)  # it may send, but what it sends must not bring the connection back
    assert not passes(client, server, request)
    assert passes(client, server, packet(client, server, protocol, 999, 23, family=family))


def test_connection_out_of_a_removed_rule_is_cut(site: Site) -> None:
    client, server = site.guest(GroupRule(Direction.OUT, "tcp", (80, 81))), site.guest(rule_in(), OUT_OPEN)
    answer = packet(server, client, "tcp", 80, 999, flags=ACK)
    assert passes(client, server, packet(client, server, "tcp", 999, 80))
    assert passes(server, client, answer)
    site.change(client, GroupRule(Direction.OUT, "tcp", (81, 81)))
    assert not passes(server, client, answer)
    assert not passes(client, server, packet(client, server, "tcp", 999, 80, flags=ACK))


def test_answered_connection_is_remembered_for_long_and_an_ended_one_is_not(site: Site) -> None:
    client, server = site.guest(OUT_OPEN), site.guest(rule_in(), OUT_OPEN)

    def expires_s() -> int:
        listing = json.loads(run("nft", "-j", "list", "set", "bridge", TABLE, f"out_tcp4_{share_of(PROJECT)}"))
        return int(listing["nftables"][1]["set"]["elem"][0]["elem"]["expires"])

    assert passes(client, server, packet(client, server, "tcp", 999, 80, flags=SYN))
    assert expires_s() <= 60
    assert passes(server, client, packet(server, client, "tcp", 80, 999, flags=SYN | ACK))
    assert expires_s() > 180
    assert passes(client, server, packet(client, server, "tcp", 999, 80, flags=FIN | ACK))
    assert expires_s() <= 60


def test_no_allowed_packet_is_lost_while_rules_are_replaced(site: Site) -> None:
    """Packets sent one after the other, more than a thousand of them, all arrive, as do all answers."""
    client, server = site.guest(OUT_OPEN), site.guest(rule_in("udp", (53, 53)), OUT_OPEN)
    stop = threading.Event()
    changes = 0

    def change() -> None:
        nonlocal changes
        with inside(f"{TAG}host"):
            while not stop.is_set():
                site.change(server, rule_in("udp", (53, 53 + changes % 7)), OUT_OPEN)
                site.groups.restore(site.ports | {uuid4(): Policy(PROJECT, NETWORK, (uuid4(),))})
                changes += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        sent = 0
        while sent < 1000 or changes < 10:
            asks = packet(client, server, "udp", 1024 + sent % 60000, 53)
            answers = packet(server, client, "udp", 53, 1024 + sent % 60000)
            for sender, receiver, frame in ((client, server, asks), (server, client, answers)):
                sender.wire.send(frame)
                while receiver.wire.recv(2000).rstrip(b"\0") != frame.rstrip(b"\0"):
                    pass
            sent += 1
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()


# Room for flows


def test_guest_that_opens_flows_to_the_brim_keeps_no_neighbour_from_being_answered(site: Site) -> None:
    other_project = next(other for other in iter(uuid4, None) if share_of(other) != share_of(PROJECT))

    def neighbour(*rules: GroupRule) -> Guest:
        return site.guest(policy=Policy(other_project, NETWORK, (uuid4(),), rules))

    def is_answered(client: Guest, server: Guest, port: int) -> bool:
        drain(server)
        assert passes(client, server, packet(client, server, "udp", port, 53))
        drain(client)
        return passes(server, client, packet(server, client, "udp", 53, port))

    greedy, server = site.guest(OUT_OPEN), site.guest(rule_in())
    other_client, other_server = neighbour(OUT_OPEN), neighbour(rule_in())
    assert is_answered(greedy, server, 1)
    opening = packet(greedy, server, "udp", 0, 53)
    for number in range(FLOWS_MAX + 1000):
        source_port, destination_port = number % 0x10000, 1000 + number // 0x10000
        greedy.wire.send(opening[:34] + struct.pack("!HH", source_port, destination_port) + opening[38:])
    assert not is_answered(greedy, server, 60000)
    assert is_answered(greedy, server, 1)
    assert is_answered(other_client, other_server, 60000)


def drain(guest: Guest) -> None:
    """Forgets what has arrived: a full socket would take in nothing more."""
    guest.wire.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while guest.wire.recv(2000):
            pass
    guest.wire.settimeout(10)


# The table


def test_flushed_ruleset_is_restored_and_told(site: Site) -> None:
    client, server = site.guest(OUT_OPEN), site.guest(rule_in("tcp", (22, 22)))
    assert site.groups.restore(site.ports) == []
    run("nft", "flush", "ruleset")
    assert passes(client, server, packet(client, server, "tcp", 9, 23))
    assert "was missing" in site.groups.restore(site.ports)[0]
    assert not passes(client, server, packet(client, server, "tcp", 9, 23))
    assert passes(client, server, packet(client, server, "tcp", 9, 22))
    assert site.groups.restore(site.ports) == []


@pytest.mark.parametrize(
    "damage",
    [
        "flush chain bridge {table} from_guest",
        "flush map bridge {table} receiving",
        "flush chain bridge {table} in_{policy}",
        "flush set bridge {table} members_{members}",
        "insert rule bridge {table} to_guest accept",
    ],
)
def test_damage_is_told_and_repaired_and_connections_live_on(site: Site, damage: str) -> None:
    group = uuid4()
    policy = Policy(PROJECT, NETWORK, (group,), (rule_in(group_id=group),), {group: frozenset({"52:54:00:00:00:02"})})
    client, server = site.guest(OUT_OPEN), site.guest(policy=policy)
    assert passes(client, server, packet(client, server, "udp", 9, 9))
    members = policy.member_set(group).removeprefix("members_")
    run("nft", *damage.format(table=TABLE, policy=policy.name, members=members).split())
    assert site.groups.restore(site.ports) != []
    assert site.groups.restore(site.ports) == []
    assert passes(server, client, packet(server, client, "udp", 9, 9))
    assert passes(client, server, packet(client, server, "udp", 9, 9))
    assert passes(client, server, packet(client, server, "udp", 9, 9, family=6))


def test_table_of_another_shape_is_made_anew(groups: Groups) -> None:
    run("nft", "add", "table", "bridge", TABLE)
    run("nft", "add", "map", "bridge", TABLE, "receiving", "{ type ether_addr : verdict; }")
    ports = {uuid4(): Policy(PROJECT, NETWORK, (uuid4(),), (OUT_OPEN,))}
    groups.restore(ports)
    assert groups.restore(ports) == []


def test_member_that_two_policies_know_comes_and_goes_with_either(site: Site) -> None:
    group = uuid4()
    policies = [
        Policy(PROJECT, NETWORK, (uuid4(),), (rule_in(group_id=group),), {group: frozenset()}) for _ in range(2)
    ]
    client, *servers = site.guest(OUT_OPEN), site.guest(policy=policies[0]), site.guest(policy=policies[1])
    known = [replace(policy, members={group: frozenset({client.mac})}) for policy in policies]
    for changed, is_known in (([known[0]], True), ([policies[1]], False), (known, True), (policies[::-1], False)):
        assert site.groups.ensure_policies(changed)
        for server in servers:
            assert passes(client, server, packet(client, server, "udp", 9, 9)) is is_known


def test_port_changes_its_policy_and_leaves(site: Site) -> None:
    client, server = site.guest(OUT_OPEN), site.guest(rule_in("tcp", (22, 22)))
    interface_id = list(site.ports)[1]
    other = Policy(PROJECT, NETWORK, (uuid4(),), (rule_in("tcp", (80, 80)),))
    assert site.groups.ensure_port(interface_id, other)
    assert passes(client, server, packet(client, server, "tcp", 9, 80))
    assert not passes(client, server, packet(client, server, "tcp", 9, 22))
    assert site.groups.ensure_port(interface_id, other)
    site.groups.absent_port(interface_id)
    assert not passes(client, server, packet(client, server, "tcp", 9, 80))
    site.groups.absent_port(interface_id)


def test_policy_goes_with_its_last_port_and_members_with_the_last_policy_that_knows_them(groups: Groups) -> None:
    group, macs = uuid4(), frozenset({"52:54:00:00:00:02"})
    first, second = (
        Policy(PROJECT, NETWORK, (uuid4(),), (rule_in(group_id=group), OUT_OPEN), {group: macs}) for _ in range(2)
    )
    ports = {uuid4(): first, uuid4(): first, uuid4(): second}
    groups.restore(ports)

    def there() -> list[bool]:
        listed = run("nft", "list", "table", "bridge", TABLE)
        return [
            f"set {first.member_set(group)} " in listed,
            *(one.chain("sending") in listed for one in (first, second)),
        ]

    one, other, last = ports
    groups.absent_port(one)
    assert there() == [True, True, True]
    assert groups.ensure_port(other, second)
    assert there() == [True, False, True]
    assert groups.restore({other: second, last: second}) == []
    assert groups.ensure_port(one, first)
    assert there() == [True, True, True]
    for interface_id in ports:
        groups.absent_port(interface_id)
    assert there() == [False, False, False]
    assert groups.ensure_port(one, first)
    assert groups.restore({one: first}) == []


def test_rules_that_the_kernel_refuses_cut_off_their_own_guests_alone(site: Site) -> None:
    client, server = site.guest(OUT_OPEN), site.guest(rule_in())
    broken = site.guest(rule_in(remote="fe80::%nowhere/10"), OUT_OPEN)
    run("nft", "flush", "ruleset")
    late = site.guest(rule_in())
    assert [tap_name(TAG, interface_id) for interface_id in site.groups.refused] == [broken.tap]
    for other in (server, late):
        assert passes(client, other, packet(client, other, "tcp", 999, 80))
    assert not passes(broken, server, packet(broken, server, "tcp", 999, 80))
    site.change(broken, OUT_OPEN)
    site.groups.restore(site.ports)
    assert not site.groups.refused
    assert passes(broken, server, packet(broken, server, "tcp", 999, 80))


def test_port_of_a_missing_table_asks_for_its_restoration(groups: Groups) -> None:
    assert not groups.ensure_port(uuid4(), Policy(PROJECT, NETWORK, (uuid4(),), (OUT_OPEN,)))
    groups.absent_port(uuid4())


def test_hundreds_of_interfaces_come_and_go(groups: Groups) -> None:
    rules = tuple(rule_in("tcp", (port, port)) for port in range(1, 11))
    ports = {uuid4(): Policy(UUID(int=number % 5), NETWORK, (UUID(int=number % 20),), rules) for number in range(400)}
    for wanted in (ports, dict(list(ports.items())[:100]), ports):
        assert groups.restore(wanted) == []
        assert groups.restore(wanted) == []
        taps = json.loads(run("nft", "-j", "list", "map", "bridge", TABLE, "sending"))["nftables"][1]["map"]["elem"]
        assert {tap for tap, _ in taps} == {tap_name(TAG, interface_id) for interface_id in wanted}


def test_real_connections_pass(site: Site) -> None:
    """TCP through the guests' own stacks, both families, with what a real one needs: ARP, neighbours, answers."""
    client, server = site.guest(OUT_OPEN), site.guest(rule_in("tcp", (8080, 8080)), OUT_OPEN)
    for guest in (client, server):
        run("ip", "netns", "exec", guest.namespace, "sysctl", "-q", "net.ipv6.conf.eth0.disable_ipv6=0")
        run("ip", "-n", guest.namespace, "address", "add", f"{guest.address(4)}/24", "dev", "eth0")
        run("ip", "-n", guest.namespace, "address", "add", f"{guest.address(6)}/64", "dev", "eth0", "nodad")
    for family in FAMILIES:
        kind = socket.AF_INET if family == 4 else socket.AF_INET6
        with inside(server.namespace):
            listener = socket.create_server((server.address(family), 8080), family=kind)
        with inside(client.namespace):
            caller = socket.create_connection((server.address(family), 8080), timeout=20)
        answerer, _ = listener.accept()
        with listener, caller, answerer:
            for _ in range(3):
                caller.sendall(b"question")
                assert answerer.recv(100) == b"question"
                answerer.sendall(b"answer")
                assert caller.recv(100) == b"answer"

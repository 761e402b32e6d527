"""The rules of a security group as EGI's extension of OCCI writes them: a list of objects, in JSON.

`{"type": "inbound", "protocol": "tcp", "port": "22", "range": "192.0.2.0/24"}`; text renderings carry it in a string.
Ours besides: `"group": "/securitygroup/UUID"` in place of a range, and `all` as a protocol.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from typing import Final
from uuid import UUID

import orjson

from backends.model import Direction, GroupRule
from occi_server.values import ValueType
from renderers.occi.representation import AttributeValue

NAME = "occi.securitygroup.rules"
LOCATION = "/securitygroup/"
LONGEST_TEXT = 65536
TYPES: Final = {"inbound": Direction.IN, "outbound": Direction.OUT}
PROTOCOLS: Final = ("tcp", "udp", "icmp", "all")
PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", re.ASCII)
SUBNET = re.compile(r"[0-9A-Fa-f.:]{2,45}(/[0-9]{1,3})?")
"""What `ip_network` takes of this has neither a mask nor an interface's name in it."""
MEMBERS: Final = {"type", "protocol", "port", "range", "group", "ipversion"}
EVERYBODY: Final = {"ipv4": "0.0.0.0/0", "ipv6": "::/0"}


def rules() -> ValueType:
    expected = (
        "a list of objects with type (inbound, outbound), protocol (tcp, udp, icmp, all), and, where it is to be"
        " limited, port (such as 22 or 8000-8080) and range (a subnet) or group (a security group's path)"
    )
    return ValueType("array", expected, _take)


def shown(listed: tuple[GroupRule, ...]) -> AttributeValue:
    return [_shown(rule) for rule in listed]


def _shown(rule: GroupRule) -> AttributeValue:
    types = {direction: name for name, direction in TYPES.items()}
    described: dict[str, AttributeValue] = {"type": types[rule.direction], "protocol": rule.protocol or "all"}
    if rule.ports is not None:
        first, last = rule.ports
        described["port"] = str(first) if first == last else f"{first}-{last}"
    if rule.remote is not None:
        described["range"] = rule.remote
    if rule.group_id is not None:
        described["group"] = f"{LOCATION}{rule.group_id}"
    return described


def _take(value: AttributeValue) -> tuple[GroupRule, ...]:
    return tuple(dict.fromkeys(map(_rule, _listed(value))))


def with_own_paths(sent: AttributeValue, own_path: Callable[[str], str]) -> AttributeValue:
    """The rules with the paths of groups that were named by URLs of this server; what isn't rules stays as it is."""
    try:
        listed = _listed(sent)
    except ValueError:
        return sent
    return [
        {**rule, "group": own_path(group)}
        if isinstance(rule, dict) and isinstance(group := rule.get("group"), str)
        else rule
        for rule in listed
    ]


def _listed(value: AttributeValue) -> list[AttributeValue]:
    if isinstance(value, str):
        if len(value) > LONGEST_TEXT:
            raise ValueError
        value = orjson.loads(value)
    if not isinstance(value, list):
        raise ValueError
    return value


def _rule(sent: AttributeValue) -> GroupRule:
    if not isinstance(sent, Mapping) or sent.keys() - MEMBERS:
        raise ValueError
    protocol = str(sent.get("protocol", "all")).lower()
    if protocol not in PROTOCOLS:
        raise ValueError
    remote = _remote(sent)
    group = sent.get("group")
    return GroupRule(
        TYPES[_one(sent.get("type"))],
        None if protocol == "all" else protocol,
        _ports(sent.get("port")),
        remote,
        None if group is None else _identity(group),
    )


def _identity(group: AttributeValue) -> UUID:
    if not isinstance(group, str) or not group.startswith(LOCATION):
        raise ValueError
    return UUID(group.removeprefix(LOCATION))


def _one(value: AttributeValue | None) -> str:
    if not isinstance(value, str) or value not in TYPES:
        raise ValueError
    return value


def _ports(value: AttributeValue | None) -> tuple[int, int] | None:
    if value is None:
        return None
    match = PORTS.fullmatch(str(value))
    if match is None:
        raise ValueError
    return int(match[1]), int(match[2] or match[1])


def _remote(sent: Mapping[str, AttributeValue]) -> str | None:
    """A range, or all of a family; both families together need no range."""
    remote, family = sent.get("range"), sent.get("ipversion")
    if family is not None and str(family).lower() not in EVERYBODY:
        raise ValueError
    if remote is None:
        return None if family is None else EVERYBODY[str(family).lower()]
    if not isinstance(remote, str) or SUBNET.fullmatch(remote) is None:
        raise ValueError
    network = ip_network(remote, strict=False)
    if family is not None and str(family).lower() != f"ipv{network.version}":
        raise ValueError
    return str(network)

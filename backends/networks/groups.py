"""Security groups at the taps of this host: a table of the bridge family, beside the one against spoofing.

The rules of the groups of a guest on a network are a *policy*, four chains; a tap is an element of maps that lead to
its policy. So a change of a group costs by its own rules, and a tap costs the same, however many others there are.
Members of a group are told by their MAC address, which nobody else can have on the same network.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from ipaddress import ip_network
from uuid import UUID

from backends.model import Direction, GroupRule
from backends.networks import nft
from backends.networks.errors import NetworkDriverError
from backends.networks.flows import (
    ANSWERED,
    ANSWERING,
    FLOW_SETS,
    FLOWS_MAX,
    RECEIVING,
    SENDING,
    UNANSWERED_S,
    VERDICT_MAPS,
    Rule,
    fixed_chains,
    fixed_rules,
)
from backends.networks.nft import DROP, Json, goto, match, meta
from backends.networks.spec import TAP, tap_name

FAMILY = "bridge"
_CHAINS = {SENDING: "out", ANSWERING: "in_back", RECEIVING: "in", ANSWERED: "out_back"}


@dataclass(frozen=True, slots=True)
class Policy:
    """What the guests of one network that have the same groups may send and get.

    `members` are the MAC addresses on this network of each group that a rule names.
    """

    network_id: UUID
    group_ids: tuple[UUID, ...]
    rules: tuple[GroupRule, ...] = ()
    members: Mapping[UUID, frozenset[str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return _digest(self.network_id, *sorted(self.group_ids))

    def chain(self, which: str) -> str:
        return f"{_CHAINS[which]}_{self.name}"

    def member_set(self, group_id: UUID) -> str:
        return f"members_{_digest(self.network_id, group_id)}"


class _Wanted:
    """The policies of these interfaces, each once, and the taps that have it."""

    def __init__(self, cloud_tag: str, ports: Mapping[UUID, Policy]) -> None:
        self.policies = {policy.name: policy for policy in ports.values()}
        self.taps: dict[str, list[str]] = {name: [] for name in self.policies}
        for interface_id, policy in ports.items():
            self.taps[policy.name].append(tap_name(cloud_tag, interface_id))
        self.chains = {chain["name"]: chain for chain in fixed_chains()}
        self.chains |= {
            policy.chain(which): {"name": policy.chain(which)}
            for policy in self.policies.values()
            for which in VERDICT_MAPS
        }
        self.members = {
            policy.member_set(group_id): macs
            for policy in self.policies.values()
            for group_id, macs in policy.members.items()
        }


class Groups:
    """The table of one cloud on this host. Who calls knows all policies, and changes it in one thread at a time.

    What it has applied it remembers only to spare doing so again, and to tell what others have changed.
    """

    def __init__(self, cloud_tag: str) -> None:
        self._tag = cloud_tag
        self._applied: dict[UUID, Policy] = {}
        self._table = f"altostratus_{cloud_tag}_groups"

    def has(self, interface_id: UUID, policy: Policy) -> bool:
        """Whether that has been applied already."""
        return self._applied.get(interface_id) == policy

    def policy_of(self, interface_id: UUID) -> Policy | None:
        return self._applied.get(interface_id)

    def ensure_port(self, interface_id: UUID, policy: Policy) -> bool:
        """The tap obeys the policy from now on; False when the table must be restored first."""
        tap = tap_name(self._tag, interface_id)
        entering = self._entries("add", policy, [tap])
        commands = list(self._policy(policy))
        leaving = [self._leave(tap, name) for name in VERDICT_MAPS]
        for attempt in ([*commands, *entering], [*commands, *leaving, *entering]):  # it may have another policy
            if nft.run(attempt) is None:
                self._note({policy.name: policy})
                self._applied[interface_id] = policy
                return True
        return False

    def ensure_policies(self, policies: Iterable[Policy]) -> bool:
        """As `ensure_port`, for whatever taps have them already."""
        named = {policy.name: policy for policy in policies}
        commands = [command for policy in named.values() for command in self._policy(policy)]
        if commands and nft.run(commands) is not None:
            return False
        self._note(named)
        return True

    def _note(self, changed: Mapping[str, Policy]) -> None:
        for interface_id, policy in self._applied.items():
            self._applied[interface_id] = changed.get(policy.name, policy)

    def absent_port(self, interface_id: UUID) -> None:
        """The tap, if it is still there, passes nothing from now on."""
        self._applied.pop(interface_id, None)
        tap = tap_name(self._tag, interface_id)
        leaving = [self._leave(tap, name) for name in VERDICT_MAPS]
        if nft.run(leaving) is not None:  # it isn't in all of them, or in none
            for one in leaving:
                nft.run([one])

    def restore(self, ports: Mapping[UUID, Policy]) -> list[str]:
        """Makes the table what these interfaces need, if it isn't, and says what others have changed of it.

        What flows there are is kept, so that nobody's connections break.
        """
        listing = self._listing()
        wanted, applied = _Wanted(self._tag, ports), _Wanted(self._tag, self._applied)
        wrong = self._faults(listing, applied) if applied.policies else []
        if not ports and listing is not None:
            self._do([{"delete": {"table": {"family": FAMILY, "name": self._table}}}])
        elif ports and (self._faults(listing, wanted) or self._has_more(listing, wanted)):
            self._do(list(self._replacement(listing or [], wanted)))
        self._applied = dict(ports)
        return wrong

    def _do(self, commands: list[Json]) -> None:
        if (refusal := nft.run(commands)) is not None:
            raise NetworkDriverError(f"The kernel refused firewall table {self._table}: {refusal}")

    # What there should be

    def _policy(self, policy: Policy) -> Iterator[Json]:
        for group_id, macs in policy.members.items():
            name = policy.member_set(group_id)
            yield {"add": {"set": self._named(name) | {"type": "ether_addr"}}}
            yield {"flush": {"set": self._named(name)}}
            if macs:
                yield {"add": {"element": self._named(name) | {"elem": sorted(macs)}}}
        for which in VERDICT_MAPS:
            yield {"add": {"chain": self._named(policy.chain(which))}}
            yield {"flush": {"chain": self._named(policy.chain(which))}}
        yield from self._rules(_policy_rules(policy))

    def _rules(self, rules: Iterable[Rule]) -> Iterator[Json]:
        for chain, comment, expressions in rules:
            described = {"chain": chain, "comment": _comment(comment, expressions), "expr": expressions}
            yield {"add": {"rule": {"family": FAMILY, "table": self._table} | described}}

    def _entries(self, verb: str, policy: Policy, taps: Collection[str]) -> list[Json]:
        return [
            {verb: {"element": self._named(name) | {"elem": [[tap, goto(policy.chain(name))] for tap in taps]}}}
            for name in (SENDING, RECEIVING)
        ] + [
            {verb: {"element": self._named(name) | {"elem": [[tap, nft.jump(policy.chain(name))] for tap in taps]}}}
            for name in (ANSWERING, ANSWERED)
        ]

    def _leave(self, tap: str, name: str) -> Json:
        return {"delete": {"element": self._named(name) | {"elem": [tap]}}}

    def _named(self, name: str) -> Json:
        return {"family": FAMILY, "table": self._table, "name": name}

    @property
    def _guests(self) -> str:
        return f"{self._tag}{TAP}*"

    def _replacement(self, listing: list[Json], wanted: _Wanted) -> Iterator[Json]:
        """What is there and wanted is filled anew and not made anew: the kernel shows packets the new rules of chains
        a moment before the new elements of sets, and a map that isn't filled yet would stop them.
        """
        table = {"family": FAMILY, "name": self._table}
        yield {"add": {"table": table}}
        if listing:
            yield {"flush": {"table": table}}
        yield from ({"flush": {"map": self._named(entry["map"]["name"])}} for entry in listing if "map" in entry)
        kept: set[str] = set()
        for kind, name in self._there(listing):
            shape = next(entry[kind] for entry in listing if entry.get(kind, {}).get("name") == name)
            if self._is_wanted(kind, shape, wanted):
                kept.add(name)
            else:
                yield {"delete": {kind: self._named(name)}}
        yield from self._objects(wanted, kept)
        yield from self._rules(fixed_rules(self._guests))
        for policy in wanted.policies.values():
            yield from self._policy(policy)
            yield from self._entries("add", policy, wanted.taps[policy.name])

    def _objects(self, wanted: _Wanted, kept: Container[str]) -> Iterator[Json]:
        of_flows = {"flags": ["timeout"], "timeout": UNANSWERED_S, "size": FLOWS_MAX}
        objects = [("set", name, {"type": types} | of_flows) for name, types in FLOW_SETS.items()]
        objects += [("map", name, {"type": "ifname", "map": "verdict"}) for name in VERDICT_MAPS]
        objects += [("chain", name, chain) for name, chain in wanted.chains.items()]
        for kind, name, shape in objects:
            if name not in kept:
                yield {"add": {kind: self._named(name) | shape}}

    @staticmethod
    def _there(listing: list[Json]) -> list[tuple[str, str]]:
        """What the table has, in an order in which it can be deleted."""
        return [(kind, entry[kind]["name"]) for kind in ("map", "set", "chain") for entry in listing if kind in entry]

    @staticmethod
    def _is_wanted(kind: str, there: Json, wanted: _Wanted) -> bool:
        name = there["name"]
        if kind == "chain":
            return name in wanted.chains and _shape(there) == _shape(wanted.chains[name])
        return name in VERDICT_MAPS if kind == "map" else name in FLOW_SETS or name in wanted.members

    # What there is

    def _listing(self) -> list[Json] | None:
        """Without elements, of which flows may have a million; only of all tables together nft leaves them out."""
        entries = [*(nft.listed("-t", "list", "ruleset", FAMILY) or ())]
        ours = [entry for entry in entries for described in entry.values() if self._table == described.get("table")]
        is_there = any(entry.get("table", {}).get("name") == self._table for entry in entries)
        return ours if is_there else None

    def _has_more(self, listing: list[Json] | None, wanted: _Wanted) -> bool:
        return any(
            not self._is_wanted(kind, entry[kind], wanted)
            for entry in listing or ()
            for kind in ("map", "set", "chain")
            if kind in entry
        )

    def _faults(self, listing: list[Json] | None, wanted: _Wanted) -> list[str]:
        """What the table lacks of what it should be, a sentence each."""
        if listing is None:
            return [f"The firewall table {FAMILY} {self._table} was missing."]
        rules = [*fixed_rules(self._guests)]
        for policy in wanted.policies.values():
            rules += _policy_rules(policy)
        should: dict[str, list[str]] = {chain: [] for chain in wanted.chains}
        for chain, comment, expressions in rules:
            should[chain].append(_comment(comment, expressions))
        have: dict[str, list[str]] = {name: [] for kind, name in self._there(listing) if kind == "chain"}
        for entry in listing:
            if "rule" in entry:
                have[entry["rule"]["chain"]].append(entry["rule"].get("comment", ""))
        shapes = {_shape(entry["chain"]) for entry in listing if "chain" in entry}
        wrong: list[str] = []
        if any(have.get(chain) != comments for chain, comments in should.items()) or any(
            _shape(chain) not in shapes for chain in wanted.chains.values()
        ):
            wrong.append(f"The rules of firewall table {FAMILY} {self._table} had been changed.")
        return wrong + self._element_faults(listing, wanted)

    def _element_faults(self, listing: list[Json], wanted: _Wanted) -> list[str]:
        elements: dict[str, set[str]] = {name: set(macs) for name, macs in wanted.members.items()}
        for name in VERDICT_MAPS:
            elements[name] = {
                f"{tap} {policy.chain(name)}" for policy in wanted.policies.values() for tap in wanted.taps[policy.name]
            }
        there = {name: kind for kind, name in self._there(listing)}
        wrong: list[str] = []
        for name, should in elements.items():
            have = self._elements(there[name], name) if name in there else set()
            if have != should:
                stray, missing = len(have - should), len(should - have)
                wrong.append(f"Set {name} of the firewall had {stray} entries too many and missed {missing}.")
        return wrong

    def _elements(self, kind: str, name: str) -> set[str]:
        elements: set[str] = set()
        for entry in nft.listed("list", kind, FAMILY, self._table, name) or ():
            for element in entry.get(kind, {}).get("elem", ()):
                if isinstance(element, str):
                    elements.add(element)
                else:
                    tap, verdict = element
                    elements.add(f"{tap} {next(iter(verdict.values()))['target']}")
        return elements


def _policy_rules(policy: Policy) -> list[Rule]:
    rules: list[Rule] = []
    for rule in policy.rules:
        is_in = rule.direction is Direction.IN
        way = "in" if is_in else "out"
        chain, back = (RECEIVING, ANSWERING) if is_in else (SENDING, ANSWERED)
        rules += [
            (policy.chain(back if turned else chain), "", [*expressions, goto(f"{verb}_{way}")])
            for turned, verb in ((False, "begun"), (True, "answer"))
            for expressions in _matches(policy, rule, turned=turned)
        ]
    return rules + [(policy.chain(chain), "nothing else", [DROP]) for chain in (SENDING, RECEIVING)]


def _matches(policy: Policy, rule: GroupRule, *, turned: bool) -> Iterator[list[Json]]:
    """What a packet is that the rule is about; `turned`, what answers such a packet. ICMP has one per family."""
    is_from_remote = (rule.direction is Direction.IN) != turned
    end = "saddr" if is_from_remote else "daddr"
    families: tuple[str, ...] = ("ip", "ip6")
    remote: list[Json] = []
    if rule.group_id is not None:
        remote = [match(nft.field("ether", end), f"@{policy.member_set(rule.group_id)}")]
    elif rule.remote is not None:
        network = ip_network(rule.remote)
        families = ("ip",) if network.version == 4 else ("ip6",)
        subnet = {"prefix": {"addr": str(network.network_address), "len": network.prefixlen}}
        is_all = network.prefixlen == 0
        remote = [
            match(nft.field("ether", "type"), families[0]) if is_all else match(nft.field(families[0], end), subnet)
        ]
    if rule.protocol == "icmp":
        for family in families:
            echo = nft.field("icmp" if family == "ip" else "icmpv6", "type")
            yield [*remote, match(echo, "echo-reply" if turned else "echo-request")]
        return
    if rule.protocol is None:
        yield remote
    elif rule.ports is None:
        yield [*remote, match(meta("l4proto"), rule.protocol)]
    else:
        first, last = rule.ports
        port = nft.field(rule.protocol, "sport" if turned else "dport")
        yield [*remote, match(port, first if first == last else {"range": [first, last]})]


def _comment(comment: str, expressions: list[Json]) -> str:
    """Ends in a digest of the rule, by which it is known again."""
    return f"{comment} #{blake2b(json.dumps(expressions).encode(), digest_size=4).hexdigest()}".strip()


def _shape(chain: Json) -> tuple[object, ...]:
    return tuple(chain.get(key) for key in ("name", "type", "hook", "prio", "policy"))


def _digest(*identities: UUID) -> str:
    return blake2b(b"".join(identity.bytes for identity in identities), digest_size=8).hexdigest()

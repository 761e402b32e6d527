"""Security groups at the taps of this host: a table of the bridge family, beside the one against spoofing.

The rules of the groups of a guest on a network are a *policy*, four chains; a tap is an element of maps that lead to
its policy. So a change of a group costs by its own rules, and a tap costs the same, however many others there are.
Members of a group are told by their MAC address, which nobody else can have on the same network.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
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


class Groups:
    """The table of one cloud on this host. It has no memory of its own: who calls knows all policies."""

    def __init__(self, cloud_tag: str) -> None:
        self._tag = cloud_tag
        self._table = f"altostratus_{cloud_tag}_groups"

    def ensure_port(self, interface_id: UUID, policy: Policy) -> bool:
        """The tap obeys the policy from now on; False when the table must be restored first."""
        tap = tap_name(self._tag, interface_id)
        entering = self._entries("add", policy, [tap])
        commands = list(self._policy(policy))
        if nft.run([*commands, *entering]) is None:
            return True
        leaving = [self._leave(tap, name) for name in VERDICT_MAPS]  # it had another policy
        return nft.run([*commands, *leaving, *entering]) is None

    def ensure_policies(self, policies: Iterable[Policy]) -> bool:
        """As `ensure_port`, for whatever taps have them already."""
        commands = [command for policy in policies for command in self._policy(policy)]
        return not commands or nft.run(commands) is None

    def absent_port(self, interface_id: UUID) -> None:
        """The tap, if it is still there, passes nothing from now on."""
        tap = tap_name(self._tag, interface_id)
        leaving = [self._leave(tap, name) for name in VERDICT_MAPS]
        if nft.run(leaving) is not None:  # it isn't in all of them, or in none
            for one in leaving:
                nft.run([one])

    def restore(self, ports: Mapping[UUID, Policy]) -> list[str]:
        """Makes the table what these interfaces need, if it isn't, and says what was wrong with it.

        What flows there are is kept, so that nobody's connections break.
        """
        policies = {policy.name: policy for policy in ports.values()}
        taps: dict[str, list[str]] = {name: [] for name in policies}
        for interface_id, policy in ports.items():
            taps[policy.name].append(tap_name(self._tag, interface_id))
        listing = self._listing()
        if not ports:
            if listing is not None:
                self._do([{"delete": {"table": {"family": FAMILY, "name": self._table}}}])
            return []
        wrong, is_stale = self._faults(listing, policies, taps)
        if wrong or is_stale:
            self._do(list(self._replacement(listing or [], policies.values(), taps)))
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

    def _replacement(
        self, listing: list[Json], policies: Collection[Policy], taps: Mapping[str, list[str]]
    ) -> Iterator[Json]:
        """What is there and wanted is filled anew and not made anew: the kernel shows packets the new rules of chains
        a moment before the new elements of sets, and a map that isn't filled yet would stop them.
        """
        table = {"family": FAMILY, "name": self._table}
        chains = {chain["name"]: chain for chain in fixed_chains()}
        chains |= {policy.chain(which): {} for policy in policies for which in VERDICT_MAPS}
        members = {policy.member_set(group_id) for policy in policies for group_id in policy.members}
        kept: set[str] = set()
        yield {"add": {"table": table}}
        if listing:
            yield {"flush": {"table": table}}
        for entry in listing:
            if "map" in entry:
                yield {"flush": {"map": self._named(entry["map"]["name"])}}
        for entry in listing:
            for kind, wanted in (("map", VERDICT_MAPS), ("set", FLOW_SETS.keys() | members), ("chain", chains)):
                name = entry.get(kind, {}).get("name")
                if name is None:
                    continue
                if name in wanted and (kind != "chain" or _shape(entry[kind]) == _shape({"name": name} | chains[name])):
                    kept.add(name)
                else:
                    yield {"delete": {kind: self._named(name)}}
        for name, types in FLOW_SETS.items():
            if name not in kept:
                shape = {"type": types, "flags": ["timeout"], "timeout": UNANSWERED_S, "size": FLOWS_MAX}
                yield {"add": {"set": self._named(name) | shape}}
        for name in VERDICT_MAPS:
            if name not in kept:
                yield {"add": {"map": self._named(name) | {"type": "ifname", "map": "verdict"}}}
        for name, chain in chains.items():
            if name not in kept:
                yield {"add": {"chain": self._named(name) | chain}}
        yield from self._rules(fixed_rules(self._guests))
        for policy in policies:
            yield from self._policy(policy)
            yield from self._entries("add", policy, taps[policy.name])

    # What there is

    def _listing(self) -> list[Json] | None:
        """Without elements, of which flows may have a million; only of all tables together nft leaves them out."""
        entries = [*(nft.listed("-t", "list", "ruleset", FAMILY) or ())]
        ours = [entry for entry in entries for described in entry.values() if self._table == described.get("table")]
        is_there = any(entry.get("table", {}).get("name") == self._table for entry in entries)
        return ours if is_there else None

    def _faults(
        self, listing: list[Json] | None, policies: Mapping[str, Policy], taps: Mapping[str, list[str]]
    ) -> tuple[list[str], bool]:
        """How the table differs from what it should be, a sentence each, and whether it has policies too many."""
        if listing is None:
            return [f"The firewall table {FAMILY} {self._table} was missing."], False
        wrong: list[str] = []
        wanted: dict[str, list[str]] = {chain["name"]: [] for chain in fixed_chains()}
        wanted |= {policy.chain(which): [] for policy in policies.values() for which in VERDICT_MAPS}
        rules = [*fixed_rules(self._guests)]
        for policy in policies.values():
            rules += _policy_rules(policy)
        for chain, comment, expressions in rules:
            wanted[chain].append(_comment(comment, expressions))
        actual: dict[str, list[str]] = {entry["chain"]["name"]: [] for entry in listing if "chain" in entry}
        for entry in listing:
            if "rule" in entry:
                actual[entry["rule"]["chain"]].append(entry["rule"].get("comment", ""))
        if any(actual.get(chain) != comments for chain, comments in wanted.items()):
            wrong.append(f"The rules of firewall table {FAMILY} {self._table} had been changed.")
        hooks = {_shape(entry["chain"]) for entry in listing if "chain" in entry}
        if not {_shape(chain) for chain in fixed_chains()} <= hooks:
            wrong.append(f"The chains of firewall table {FAMILY} {self._table} had been changed.")
        wrong += self._element_faults(listing, policies, taps)
        return wrong, bool(actual.keys() - wanted.keys())

    def _element_faults(
        self, listing: list[Json], policies: Mapping[str, Policy], taps: Mapping[str, list[str]]
    ) -> list[str]:
        wanted: dict[str, set[str]] = {name: set() for name in VERDICT_MAPS}
        for policy in policies.values():
            for name in VERDICT_MAPS:
                wanted[name] |= {f"{tap} {policy.chain(name)}" for tap in taps[policy.name]}
            wanted |= {policy.member_set(group_id): set(macs) for group_id, macs in policy.members.items()}
        there = {entry[kind]["name"]: kind for entry in listing for kind in ("map", "set") if kind in entry}
        wrong = []
        for name, should in wanted.items():
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
        chain, back = (RECEIVING, ANSWERING) if is_in else (SENDING, ANSWERED)
        way = "in" if is_in else "out"
        for expressions in _matches(policy, rule, turned=False):
            rules.append((policy.chain(chain), "", [*expressions, goto(f"begun_{way}")]))
        for expressions in _matches(policy, rule, turned=True):
            rules.append((policy.chain(back), "", [*expressions, goto(f"answer_{way}")]))
    for chain in (SENDING, RECEIVING):
        rules.append((policy.chain(chain), "nothing else", [DROP]))
    return rules


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

"""Security groups at the taps of this host: a table of the bridge family, beside the one against spoofing.

The rules of the groups of a guest on a network are a *policy*, two chains; a tap is an element of maps that lead to
its policy. So a change of a group costs by its own rules, and a tap costs the same, however many others there are.
Members of a group are told by their MAC address, which nobody else can have on the same network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from ipaddress import ip_network
from uuid import UUID

from backends.model import Direction, GroupRule
from backends.networks import nft, tables
from backends.networks.errors import NetworkDriverError
from backends.networks.flows import (
    RECEIVING,
    SENDING,
    TOLD_APART,
    common_chains,
    common_sets,
    flow_chains,
    flow_sets,
    share_of,
)
from backends.networks.spec import TAP, tap_name
from backends.networks.tables import Chain, Rule, Set, Table, rule

FAMILY = "bridge"
_CHAINS = {SENDING: "out", RECEIVING: "in"}
_MEMBERS = "members_"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the guests of one network that have the same groups, of one project, may send and get.

    `members` are the MAC addresses on this network of each group that a rule names.
    """

    project_id: UUID
    network_id: UUID
    group_ids: tuple[UUID, ...]
    rules: tuple[GroupRule, ...] = ()
    members: Mapping[UUID, frozenset[str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return _digest(self.network_id, *sorted(self.group_ids))

    @property
    def share(self) -> str:
        return share_of(self.project_id)

    def chain(self, which: str) -> str:
        return f"{_CHAINS[which]}_{self.name}"

    @property
    def member_sets(self) -> dict[str, frozenset[str]]:
        return {self.member_set(group_id): macs for group_id, macs in self.members.items()}

    def member_set(self, group_id: UUID) -> str:
        return f"{_MEMBERS}{_digest(self.project_id, self.network_id, group_id)}"


class Groups:
    """The table of one cloud on this host. Who calls knows all policies, and changes it in one thread at a time.

    What it has applied it remembers only to spare doing so again, and to tell what others have changed.
    """

    def __init__(self, cloud_tag: str) -> None:
        self._tag = cloud_tag
        self.refused: dict[UUID, str] = {}
        """The interfaces whose policy the kernel doesn't take, and what it says to it."""
        self._applied: dict[UUID, str] = {}
        self._policies: dict[str, Policy] = {}
        self._shares: set[str] = set()
        self._members: dict[str, frozenset[str]] = {}
        self._name = f"altostratus_{cloud_tag}_groups"
        self._table = f"{FAMILY} {self._name}"

    def has(self, interface_id: UUID, policy: Policy) -> bool:
        """Whether that has been applied already."""
        return self.policy_of(interface_id) == policy

    def policy_of(self, interface_id: UUID) -> Policy | None:
        name = self._applied.get(interface_id)
        return None if name is None else self._policies[name]

    def ensure_port(self, interface_id: UUID, policy: Policy) -> bool:
        """The tap obeys the policy from now on; False when the table must be restored first."""
        tap = tap_name(self._tag, interface_id)
        script = self._changed([policy])
        if policy.share not in self._shares:
            script = tables.add(self._table, flow_sets(policy.share), flow_chains(policy.share)) + script
        entering = tables.add_elements(self._table, _entries(policy, [tap]))
        leaving = tables.add_elements(self._table, {name: [tap] for name in _CHAINS}, "delete")
        for attempt in (script + entering, script + leaving + entering):  # it may have another policy
            if nft.run(attempt) is None:
                self._note([policy])
                self._applied[interface_id] = policy.name
                self._withdraw_unused()
                return True
        return False

    def ensure_policies(self, policies: Iterable[Policy]) -> bool:
        """As `ensure_port`, for whatever taps have them already."""
        policies = list(policies)
        script = self._changed(policies)
        if script and nft.run(script) is not None:
            return False
        self._note(policies)
        return True

    def _note(self, policies: Iterable[Policy]) -> None:
        for policy in policies:
            self._policies[policy.name] = policy
            self._shares.add(policy.share)
            self._members |= policy.member_sets

    def absent_port(self, interface_id: UUID) -> None:
        """The tap, if it is still there, passes nothing from now on."""
        self._applied.pop(interface_id, None)
        tap = tap_name(self._tag, interface_id)
        if nft.run(tables.add_elements(self._table, {name: [tap] for name in _CHAINS}, "delete")) is not None:
            for name in _CHAINS:  # it isn't in all of them, or in none
                nft.run(tables.add_elements(self._table, {name: [tap]}, "delete"))
        self._withdraw_unused()

    def _withdraw_unused(self) -> None:
        """Policies that no tap has any more. What the kernel doesn't let go of now, it lets the sweep remove."""
        used = set(self._applied.values())
        unused = [policy for name, policy in self._policies.items() if name not in used]
        if not unused:
            return
        self._policies = {name: self._policies[name] for name in used}
        kept = {name for policy in self._policies.values() for name in policy.member_sets}
        sets = self._members.keys() - kept
        self._members = {name: self._members[name] for name in kept}
        chains = [policy.chain(which) for policy in unused for which in _CHAINS]
        lines = [f"delete chain {self._table} {name}" for name in chains]
        lines += [f"delete set {self._table} {name}" for name in sets]
        nft.run("\n".join(lines) + "\n")

    def restore(self, ports: Mapping[UUID, Policy]) -> list[str]:
        """Makes the table what these interfaces need, if it isn't, and says what others have changed of it.

        What flows there are is kept, so that nobody's connections break. A policy that the kernel refuses keeps no
        other from being in force: its own taps pass nothing, and are in `refused`.
        """
        found = self._found()
        wanted = self._wanted(ports)
        before = {interface_id: self._policies[name] for interface_id, name in self._applied.items()}
        applied = wanted if ports == before else self._wanted(before)
        wrong = tables.faults(applied, found) if before else []
        self.refused = {}
        if ports:
            try:
                tables.restore(wanted, found)
            except NetworkDriverError:
                refusals = {name: self._refusal(policy) for name, policy in _named(ports).items()}
                self.refused = {
                    interface_id: reason
                    for interface_id, policy in ports.items()
                    if (reason := refusals[policy.name]) is not None
                }
                if not self.refused:
                    raise
                ports = {interface_id: ports[interface_id] for interface_id in ports.keys() - self.refused.keys()}
                tables.restore(self._wanted(ports), found)
        elif found is not None:
            tables.remove(wanted)
        self._applied = {interface_id: policy.name for interface_id, policy in ports.items()}
        self._policies, self._shares, self._members = {}, set(), {}
        self._note(ports.values())
        return wrong

    def has_lost(self) -> bool:
        """Whether the table that has been made is gone."""
        return bool(self._applied) and not tables.is_there(FAMILY, self._name)

    def _refusal(self, policy: Policy) -> str | None:
        """What nft says to the policy alone; nothing is changed by asking."""
        sets = common_sets() | flow_sets(policy.share) | _member_sets(policy)
        alone = Table(FAMILY, f"{self._name}_alone", sets, flow_chains(policy.share) | _policy_chains(policy))
        return tables.refusal(alone)

    # What there should be

    def _changed(self, policies: Iterable[Policy]) -> str:
        """The script by which policies become what they are, from what has been applied of them."""
        sets: dict[str, Set] = {}
        chains: dict[str, Chain] = {}
        come: dict[str, list[str]] = {}
        gone: dict[str, list[str]] = {}
        for policy in policies:
            known = self._policies.get(policy.name)
            if known is None or known.rules != policy.rules:
                chains |= _policy_chains(policy)
            for name, macs in policy.member_sets.items():
                if (before := self._members.get(name)) is None:
                    sets[name] = Set(("ether_addr",), macs)
                else:
                    come[name], gone[name] = sorted(macs - before), sorted(before - macs)
        filled = tables.fill(self._table, sets, chains) if sets or chains else ""
        leaving = tables.add_elements(self._table, gone, "delete")
        return filled + leaving + tables.add_elements(self._table, come)

    def _wanted(self, ports: Mapping[UUID, Policy]) -> Table:
        policies = _named(ports)
        taps: dict[str, list[str]] = {name: [] for name in policies}
        for interface_id, policy in ports.items():
            taps[policy.name].append(tap_name(self._tag, interface_id))
        maps: dict[str, list[str]] = {name: [] for name in _CHAINS}
        sets = common_sets()
        chains = common_chains(f"{self._tag}{TAP}*")
        for share in {policy.share for policy in policies.values()}:
            sets |= flow_sets(share)
            chains |= flow_chains(share)
        for name, policy in policies.items():
            sets |= _member_sets(policy)
            chains |= _policy_chains(policy)
            for which, entries in _entries(policy, taps[name]).items():
                maps[which] += entries
        sets |= {name: Set(("ifname",), entries, to_chains=True) for name, entries in maps.items()}
        return Table(FAMILY, self._name, sets, chains)

    # What there is

    def _found(self) -> tables.Found | None:
        """First all without elements, for of flows there may be many; only of all tables nft leaves them out."""
        found = tables.found_in(FAMILY, self._name, nft.listed("-t", "list", "ruleset", FAMILY))
        if found is None:
            return None
        for name, (kind, _) in found.sets.items():
            if name in _CHAINS or name == TOLD_APART or name.startswith(_MEMBERS):
                for entry in nft.listed("list", kind, FAMILY, self._name, name) or ():
                    if kind in entry:
                        found.elements[name] = tables.elements_of(entry[kind])
        return found


def _named(ports: Mapping[UUID, Policy]) -> dict[str, Policy]:
    return {policy.name: policy for policy in ports.values()}


def _member_sets(policy: Policy) -> dict[str, Set]:
    return {name: Set(("ether_addr",), macs) for name, macs in policy.member_sets.items()}


def _policy_chains(policy: Policy) -> dict[str, Chain]:
    """Answers come first: what may be sent anyway would pass without renewing the flow that it answers."""
    begun: dict[str, list[Rule]] = {SENDING: [], RECEIVING: []}
    answers: dict[str, list[Rule]] = {SENDING: [], RECEIVING: []}
    share = policy.share
    for one in policy.rules:
        is_in = one.direction is Direction.IN
        way, chain, back = ("in", RECEIVING, SENDING) if is_in else ("out", SENDING, RECEIVING)
        begun[chain] += [rule(f"{words}goto begun_{way}_{share}") for words in _matches(policy, one, turned=False)]
        answers[back] += [rule(f"{words}jump answer_{way}_{share}") for words in _matches(policy, one, turned=True)]
    end = rule("drop", "nothing else")
    return {policy.chain(which): Chain((*answers[which], *begun[which], end)) for which in _CHAINS}


def _entries(policy: Policy, taps: Iterable[str]) -> dict[str, list[str]]:
    return {which: [f"{tap} : goto {policy.chain(which)}" for tap in taps] for which in _CHAINS}


def _matches(policy: Policy, one: GroupRule, *, turned: bool) -> Iterator[str]:
    """What a packet is that the rule is about; `turned`, what answers such a packet. ICMP has one per family."""
    is_from_remote = (one.direction is Direction.IN) != turned
    end = "saddr" if is_from_remote else "daddr"
    families: tuple[str, ...] = ("ip", "ip6")
    remote = ""
    if one.group_id is not None:
        remote = f"ether {end} @{policy.member_set(one.group_id)} "
    elif one.remote is not None:
        family, subnet = _subnet(one.remote)
        families = (family,)
        remote = f"{family} {end} {subnet} " if subnet else f"ether type {family} "
    if one.protocol == "icmp":
        for family in families:
            echo = "icmp" if family == "ip" else "icmpv6"
            yield f"{remote}{echo} type {'echo-reply' if turned else 'echo-request'} "
    elif one.protocol is None:
        yield remote
    elif one.ports is None:
        yield f"{remote}meta l4proto {one.protocol} "
    else:
        first, last = one.ports
        ports = first if first == last else f"{first}-{last}"
        yield f"{remote}{one.protocol} {'sport' if turned else 'dport'} {ports} "


@lru_cache(maxsize=4096)
def _subnet(remote: str) -> tuple[str, str]:
    """The family, and in it the subnet as nft knows it; empty when that is all of the family."""
    network = ip_network(remote)
    return "ip" if network.version == 4 else "ip6", str(network) if network.prefixlen else ""


def _digest(*identities: UUID) -> str:
    return blake2b(b"".join(identity.bytes for identity in identities), digest_size=8).hexdigest()

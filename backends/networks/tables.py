"""Tables of nftables: what one should be, how the kernel's differs, and the one transaction that mends it.

What is as it should be is left alone. The kernel shows packets the new rules of chains a moment before or after the new
elements of sets, so that what is taken away and put back may be missed in between.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from backends.networks import nft
from backends.networks.errors import NetworkDriverError

Rule = tuple[str, str]
"""What it does, and the comment by which it is known again."""


@dataclass(frozen=True, slots=True)
class Hook:
    """Where packets come into a chain by themselves. They pass unless a rule drops them."""

    kind: str
    name: str
    priority: int


@dataclass(frozen=True, slots=True)
class Chain:
    rules: tuple[Rule, ...] = ()
    hook: Hook | None = None


@dataclass(frozen=True, slots=True)
class Set:
    """A set, or a map to jumps. `elements` is None where packets make them, which then are nobody's business."""

    type: tuple[str, ...]
    elements: Collection[str] | None = ()
    more: str = ""
    """Further words of its definition, each with a semicolon."""
    to_chains: bool = False

    @property
    def kind(self) -> str:
        return "map" if self.to_chains else "set"


@dataclass(frozen=True, slots=True)
class Table:
    family: str
    name: str
    sets: dict[str, Set]
    chains: dict[str, Chain]

    def of(self, name: str) -> str:
        """How something in it is called in nft's language."""
        return f"{self.family} {self.name} {name}"


@dataclass(slots=True)
class Found:
    """What the kernel has of a table: `elements` of what has been listed with them."""

    chains: dict[str, Hook | None] = field(default_factory=dict)
    rules: dict[str, list[str]] = field(default_factory=dict)
    """The comments of each chain's."""
    sets: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    """Kind and type."""
    elements: dict[str, set[str]] = field(default_factory=dict)


def rule(expression: str, comment: str = "") -> Rule:
    """Its comment ends in a digest of it."""
    digest = blake2b(expression.encode(), digest_size=4).hexdigest()
    return expression, f"{comment} #{digest}" if comment else f"#{digest}"


def found_in(family: str, name: str, entries: Iterable[nft.Json] | None) -> Found | None:
    """What nft has listed of a table; None when that isn't there."""
    found, is_there = Found(), False
    for entry in entries or ():
        ((kind, described),) = entry.items()
        if kind == "table":
            is_there = is_there or (described["family"], described["name"]) == (family, name)
        elif described.get("table") != name:
            continue
        elif kind == "chain":
            found.chains[described["name"]] = _hook(described)
            found.rules.setdefault(described["name"], [])
        elif kind == "rule":
            found.rules.setdefault(described["chain"], []).append(described.get("comment", ""))
        elif kind in ("set", "map"):
            types = described["type"]
            found.sets[described["name"]] = (kind, tuple([types] if isinstance(types, str) else types))
            found.elements[described["name"]] = elements_of(described)
    return found if is_there else None


def elements_of(described: nft.Json) -> set[str]:
    return {_element(element) for element in described.get("elem", ())}


def faults(wanted: Table, found: Found | None) -> list[str]:
    """What the kernel's lacks of what it should be, a sentence each."""
    if found is None:
        return [f"The firewall table {wanted.family} {wanted.name} was missing."]
    wrong: list[str] = []
    if any(_differs(name, chain, found) for name, chain in wanted.chains.items()):
        wrong.append(f"The rules of firewall table {wanted.family} {wanted.name} had been changed.")
    for name, one in wanted.sets.items():
        if one.elements is not None and (have := found.elements.get(name, set())) != (should := set(one.elements)):
            stray, missing = len(have - should), len(should - have)
            wrong.append(f"Set {name} of the firewall had {stray} entries too many and missed {missing}.")
    return wrong


def restore(wanted: Table, found: Found | None) -> None:
    """Makes it what it should be, if it isn't."""
    scripts = [_anew(wanted)]
    if found is not None and _is_of_its_shape(wanted, found):
        scripts.insert(0, "\n".join(_mending(wanted, found)))
    refusal: str | None = None
    for script in scripts:
        if not script or (refusal := nft.run(script + "\n")) is None:
            return
    raise NetworkDriverError(f"The kernel refused firewall table {wanted.name}: {refusal}")


def refusal(table: Table) -> str | None:
    """What nft would say to making it; None if it would."""
    return nft.run(_anew(table), "-c")


def is_there(family: str, name: str) -> bool:
    tables = [entry["table"] for entry in nft.listed("list", "tables", family) or () if "table" in entry]
    return any(table["name"] == name for table in tables)


def remove(table: Table) -> None:
    script = f"add table {table.family} {table.name}\ndelete table {table.family} {table.name}\n"
    if (refusal := nft.run(script)) is not None:
        raise NetworkDriverError(f"The kernel kept firewall table {table.name}: {refusal}")


def add_elements(table: str, elements: dict[str, list[str]], verb: str = "add") -> str:
    """The script for it; `table` is the family and the name."""
    return "".join(_elements(verb, f"{table} {name}", members) + "\n" for name, members in elements.items() if members)


def add(table: str, sets: dict[str, Set], chains: dict[str, Chain]) -> str:
    """The script for sets that may be there with their elements, and for chains whatever was in them."""
    emptied = "".join(f"add chain {table} {name}\nflush chain {table} {name}\n" for name in chains)
    return emptied + "\n".join(_block(table, sets, chains)) + "\n"


def fill(table: str, sets: dict[str, Set], chains: dict[str, Chain]) -> str:
    """The same, for sets that are to have these elements alone."""
    emptied = "".join(
        f"add set {table} {name} {{ type {' . '.join(one.type)}; }}\nflush set {table} {name}\n"
        for name, one in sets.items()
    )
    return emptied + add(table, sets, chains)


def _anew(wanted: Table) -> str:
    table = f"table {wanted.family} {wanted.name}"
    lines = [f"add {table}", f"delete {table}", *_block(f"{wanted.family} {wanted.name}", wanted.sets, wanted.chains)]
    return "\n".join(lines)


def _mending(wanted: Table, found: Found) -> Iterator[str]:
    changed = {name: chain for name, chain in wanted.chains.items() if _differs(name, chain, found)}
    yield from (
        f"flush chain {wanted.of(name)}" for name in found.chains if name in changed or name not in wanted.chains
    )
    kept = {name: one for name, one in wanted.sets.items() if name in found.sets}
    filled = [(name, set(one.elements), found.elements[name]) for name, one in kept.items() if one.elements is not None]
    yield from (_elements("delete", wanted.of(name), have - should) for name, should, have in filled if have - should)
    for kind in ("map", "set"):
        strays = [name for name, (its_kind, _) in found.sets.items() if its_kind == kind and name not in wanted.sets]
        yield from (f"delete {kind} {wanted.of(name)}" for name in strays)
    yield from (f"delete chain {wanted.of(name)}" for name in found.chains if name not in wanted.chains)
    new = {name: one for name, one in wanted.sets.items() if name not in found.sets}
    if new or changed:
        yield from _block(f"{wanted.family} {wanted.name}", new, changed)
    yield from (_elements("add", wanted.of(name), should - have) for name, should, have in filled if should - have)


def _block(table: str, sets: dict[str, Set], chains: dict[str, Chain]) -> Iterator[str]:
    """Creates what isn't there, and appends to chains that are."""
    yield f"table {table} {{"
    for name, one in sets.items():
        to = " : verdict" if one.to_chains else ""
        elements = f" elements = {{ {', '.join(one.elements)} }}" if one.elements else ""
        yield f"{one.kind} {name} {{ type {' . '.join(one.type)}{to}; {one.more}{elements}\n}}"
    for name, chain in chains.items():
        yield f"chain {name} {{"
        if chain.hook is not None:
            hook = chain.hook
            yield f"type {hook.kind} hook {hook.name} priority {hook.priority}; policy accept;"
        yield from (f'{expression} comment "{comment}"' for expression, comment in chain.rules)
        yield "}"
    yield "}"


def _elements(verb: str, name: str, elements: Iterable[str]) -> str:
    if verb == "delete":
        elements = (element.partition(" : ")[0] for element in elements)
    return f"{verb} element {name} {{ {', '.join(elements)} }}"


def _differs(name: str, chain: Chain, found: Found) -> bool:
    return (
        name not in found.chains
        or found.chains[name] != chain.hook
        or found.rules[name] != [comment for _, comment in chain.rules]
    )


def _is_of_its_shape(wanted: Table, found: Found) -> bool:
    """Whether what is there of what there should be can be kept: no set's type and no chain's hook can change."""
    return all(
        found.sets[name] == (one.kind, one.type) for name, one in wanted.sets.items() if name in found.sets
    ) and all(found.chains[name] == chain.hook for name, chain in wanted.chains.items() if name in found.chains)


_ODD_POLICY = Hook("", "", 0)


def _hook(described: nft.Json) -> Hook | None:
    if "hook" not in described:
        return None
    if described["policy"] != "accept":
        return _ODD_POLICY
    return Hook(described["type"], described["hook"], described["prio"])


def _element(element: Any) -> str:
    """In nft's language, as the modules that make tables write it."""
    if isinstance(element, str):
        return element
    if isinstance(element, list):
        key, verdict = element
        ((verb, where),) = verdict.items()
        return f"{_element(key)} : {verb} {where['target']}" if where else f"{_element(key)} : {verb}"
    if "concat" in element:
        return " . ".join(map(_element, element["concat"]))
    if "prefix" in element:
        return f"{element['prefix']['addr']}/{element['prefix']['len']}"
    return str(element)

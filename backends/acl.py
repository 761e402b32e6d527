"""CDMI's access control lists (those of NFSv4): read from metadata, inherited, and evaluated. No I/O.

Two defects of the text are mended as its authors meant: masks are joined by OR, and names stand for their bits.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntFlag
from functools import lru_cache
from typing import Final

from backends.errors import Invalid
from backends.model import Caller, Role

ACES_MAX: Final = 256


class AceMask(IntFlag):
    """What an entry is about; the first of two names is an object's, the second a container's."""

    READ_OBJECT = LIST_CONTAINER = 0x1
    WRITE_OBJECT = ADD_OBJECT = 0x2
    APPEND_DATA = ADD_SUBCONTAINER = 0x4
    READ_METADATA = 0x8
    WRITE_METADATA = 0x10
    EXECUTE = TRAVERSE_CONTAINER = 0x20
    DELETE_OBJECT = DELETE_SUBCONTAINER = 0x40
    READ_ATTRIBUTES = 0x80
    WRITE_ATTRIBUTES = 0x100
    WRITE_RETENTION = 0x200
    WRITE_RETENTION_HOLD = 0x400
    DELETE = 0x10000
    READ_ACL = 0x20000
    WRITE_ACL = 0x40000
    WRITE_OWNER = 0x80000
    SYNCHRONIZE = 0x100000


class AceFlag(IntFlag):
    OBJECT_INHERIT = 0x1
    CONTAINER_INHERIT = 0x2
    NO_PROPAGATE = 0x4
    INHERIT_ONLY = 0x8
    IDENTIFIER_GROUP = 0x40
    INHERITED = 0x80


ALL_PERMS: Final = AceMask(0x1F07FF)
REPAIR: Final = AceMask.READ_ACL | AceMask.WRITE_ACL
"""What no list takes from the owner of an object and from the project's administrators."""
PASSED_ON: Final = AceFlag.OBJECT_INHERIT | AceFlag.CONTAINER_INHERIT

ALLOW, DENY, AUDIT = 0, 1, 2

# 1.1.1 §16.1.3-5: by the tables' string forms, each of which is a part of its constant.
MASKS: Final[Mapping[str, int]] = {
    **{name: member.value for name, member in AceMask.__members__.items()},
    "ALL_PERMS": 0x1F07FF,
    "RW_ALL": 0x6006F,
    "RW": 0x1F,
    "READ_ALL": 0x9,
    "READ": 0x1,
    "WRITE": 0x2,
}
FLAGS: Final[Mapping[str, int]] = {
    **{name: member.value for name, member in AceFlag.__members__.items()},
    "NO_FLAGS": 0,
    "NONE": 0,
    "NO_PROPAGATE_INHERIT": AceFlag.NO_PROPAGATE.value,
}
TYPES: Final[Mapping[str, int]] = {
    "ALLOW": ALLOW,
    "ALLOWED": ALLOW,
    "DENY": DENY,
    "DENIED": DENY,
    "AUDIT": AUDIT,
}
CONSTANT: Final = re.compile(r"CDMI_ACE_(?:FLAGS_|ACCESS_|SYSTEM_)?(\w+?)(?:_ACE|_TYPE)?")
"""In the tables, or in the BNF, where some end otherwise."""


@dataclass(frozen=True, slots=True)
class Ace:
    type: int
    identifier: str
    flags: AceFlag
    mask: AceMask


Acl = tuple[Ace, ...]

DEFAULT_ACL: Final[Acl] = (
    Ace(ALLOW, "OWNER@", PASSED_ON, ALL_PERMS),
    Ace(ALLOW, "GROUP@", PASSED_ON, ALL_PERMS),
)
"""Of a root without an own list: everything in a project is its users' alike, as it is for machines and disks."""
OWNERS_ACL: Final[Acl] = (Ace(ALLOW, "OWNER@", AceFlag(0), ALL_PERMS),)
"""Of an object that inherits nothing."""


def parse_acl(value: object) -> Acl:
    """From the JSON of `cdmi_acl`; `Invalid` names the entry that is wrong."""
    if not isinstance(value, list) or len(value) > ACES_MAX:
        raise Invalid(f"cdmi_acl must be an array of at most {ACES_MAX} entries")
    return tuple(_parse_ace(number, entry) for number, entry in enumerate(value, 1))


def _parse_ace(number: int, entry: object) -> Ace:
    if not isinstance(entry, dict):
        raise Invalid(f"entry {number} of cdmi_acl must have acetype, identifier, aceflags and acemask")
    identifier = entry.get("identifier")
    if not isinstance(identifier, str) or not 0 < len(identifier) <= 255:
        raise Invalid(f"entry {number} of cdmi_acl has no identifier: the name of a user, or OWNER@ and the like")
    return Ace(
        _bits(number, "acetype", entry.get("acetype"), TYPES, most=2),
        identifier,
        AceFlag(_bits(number, "aceflags", entry.get("aceflags", "0x0"), FLAGS, most=0xCF)),
        AceMask(_bits(number, "acemask", entry.get("acemask"), MASKS, most=0x1F07FF)),
    )


def _bits(number: int, name: str, value: object, names: Mapping[str, int], *, most: int) -> int:
    """`"0x1f"`, or names with commas (or `|`) between them."""
    if isinstance(value, str) and len(value) <= 1024:
        bits = 0
        for word in value.replace("|", ",").split(","):
            constant = CONSTANT.fullmatch(word.strip())
            one = names.get(constant[1] if constant else word.strip())
            if one is None:
                one = _hexadecimal(word.strip())
            if one is None:
                break
            bits |= one
        else:
            if bits <= most:
                return bits
    shown = repr(value)[:60]
    raise Invalid(f'{name} of entry {number} of cdmi_acl is {shown}: expected "0x…" up to {most:#x}, or names')


def _hexadecimal(word: str) -> int | None:
    if not word.lower().startswith("0x") or len(word) > 18:
        return None
    try:
        return int(word, 16)
    except ValueError:
        return None


def render_acl(acl: Acl) -> list[dict[str, str]]:
    return [
        {
            "acetype": f"{ace.type:#x}",
            "identifier": ace.identifier,
            "aceflags": f"{ace.flags.value:#x}",
            "acemask": f"{ace.mask.value:#x}",
        }
        for ace in acl
    ]


def is_inherited(acl: Acl) -> bool:
    """As it is shown of what has no list of its own; no own list is so."""
    return bool(acl) and all(ace.flags & AceFlag.INHERITED for ace in acl)


def as_own(acl: Acl) -> Acl:
    return tuple(dataclasses.replace(ace, flags=ace.flags & ~AceFlag.INHERITED) for ace in acl)


@lru_cache(maxsize=1024)
def inherited(parents: Acl, *, container: bool) -> Acl:
    """What a child without a list of its own gets from its parent's."""
    passed = []
    for ace in parents:
        if ace.flags & AceFlag.NO_PROPAGATE or not ace.flags & (PASSED_ON if container else AceFlag.OBJECT_INHERIT):
            continue
        flags = (ace.flags & ~AceFlag.INHERIT_ONLY) | AceFlag.INHERITED
        if not container:
            flags &= ~PASSED_ON
        elif not ace.flags & AceFlag.CONTAINER_INHERIT:
            flags |= AceFlag.INHERIT_ONLY
        passed.append(dataclasses.replace(ace, flags=flags))
    return tuple(passed) or OWNERS_ACL


def passed_down(above: Acl, levels: int, *, container: bool) -> Acl:
    """What is in force so many levels below a list where none is in between: the same from the second on."""
    for level in range(levels):
        above = inherited(above, container=container or level < levels - 1)
    return above


@lru_cache(maxsize=4096)
def allowed(acl: Acl, caller: Caller, owner: str) -> AceMask:
    """All that the caller may do: each bit is decided by the first entry about it, and what none is about is denied."""
    granted = AceMask(0)
    decided = AceMask(0)
    for ace in acl:
        if ace.type == AUDIT or ace.flags & AceFlag.INHERIT_ONLY or not _is_about(ace, caller, owner):
            continue
        if ace.type == ALLOW:
            granted |= ace.mask & ~decided
        decided |= ace.mask
    return granted


def _is_about(ace: Ace, caller: Caller, owner: str) -> bool:
    match ace.identifier:
        case "OWNER@":
            return caller.user_name == owner
        case "GROUP@":
            return True  # nobody else reaches the tree of a project
        case "EVERYONE@" | "AUTHENTICATED@":
            return True
        case "ANONYMOUS@":
            return False
        case "ADMINISTRATOR@" | "ADMINUSERS@":
            return is_administrator(caller)
    if ace.flags & AceFlag.IDENTIFIER_GROUP:
        return ace.identifier == caller.project_name
    return ace.identifier == caller.user_name


def is_administrator(caller: Caller) -> bool:
    return caller.role in (Role.PROJECT_ADMIN, Role.CLOUD_ADMIN)

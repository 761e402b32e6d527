"""Data system metadata (1.1.1 §16.4, §16.5): what a client asks of the cloud, and `_provided`, which says what it gets.

Each item is one object that knows whether it is claimed, what may be asked, and what is done. What can be harmless to
miss is kept though nothing follows from it; what a client must be able to rely on is refused where it isn't done.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from backends import retention
from backends.cloud.named_disks import NamedDisk
from backends.errors import Invalid, NotAllowed
from backends.objects import (
    COMPLETE,
    DISKS,
    HASHES,
    OF_VERSIONING,
    SNAPSHOTS,
    VALUE_HASH,
    VERSIONING,
    VERSIONS_AGE,
    VERSIONS_COUNT,
    VERSIONS_SIZE,
    Found,
    ObjectKind,
)
from cdmi_server.site import Site

Claim = str | list[str] | None
STORED = frozenset({ObjectKind.CONTAINER, ObjectKind.DATAOBJECT, ObjectKind.QUEUE})
VALUED = frozenset({ObjectKind.CONTAINER, ObjectKind.DATAOBJECT})
VERSIONED = ("value", "user", "all")
VERSIONS_MAX = 1_000_000
VERSIONS_AGE_MAX_S = 100 * 366 * 86400
VERSIONS_MAX_BYTES = 2**50
"""What limits of versions may be at most; without one there is none."""
REGION = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")
"""A code of ISO 3166-1 or 3166-2."""


@dataclass(frozen=True, slots=True)
class Policy:
    """`claim` is the capability's value, None where it isn't claimed; `check` refuses what can't be done.

    `fixed` is provided of everything, disks too; else `provided` tells of an object and of what is asked for on it or
    above it. Both are None where there is nothing true to say.
    """

    name: str
    capability: str
    claim: Callable[[Site], Claim] = lambda _: None
    check: Callable[[Site, Any], None] = lambda _site, _value: None
    fixed: Callable[[Site], Any] = lambda _: None
    provided: Callable[[Found, Any], Any] = lambda _found, _asked: None
    kinds: frozenset[ObjectKind] = STORED


def _always(value: Any) -> Callable[[Site], Any]:
    return lambda _: value


def _copies(value: Any) -> int:
    """How many a client asks for; text that is no positive number asks for nothing."""
    return int(value) if re.fullmatch(r"[0-9]{1,9}", str(value), re.ASCII) else 0


def _not_done(name: str, what: str) -> Callable[[Site, Any], None]:
    def check(_site: Site, value: Any) -> None:
        if value not in ("", []):
            raise Invalid(f"{name} is {str(value)[:60]!r}, but {what} (no such capability)")

    return check


def _limit(name: str, most: int) -> Callable[[Site, Any], None]:
    def check(_site: Site, value: Any) -> None:
        is_number = not isinstance(value, bool) and re.fullmatch(r"[0-9]{1,19}", str(value), re.ASCII)
        if value != "" and not (is_number and int(value) <= most):
            raise Invalid(f'{name} is {str(value)[:40]!r}: expected a number up to {most}, such as "5"')

    return check


def _check_versioning(_site: Site, value: Any) -> None:
    if value not in ("", *VERSIONED):
        raise Invalid(f"{VERSIONING} is {str(value)[:60]!r}: expected {', '.join(VERSIONED)}")


def _of_versions(found: Found, asked: Any) -> Any:
    """True of a data object from its first version on, and of a container whose data objects get some."""
    names = found.names or ()
    is_for_objects = found.object.kind is ObjectKind.CONTAINER and SNAPSHOTS not in names and names != (DISKS,)
    is_so = found.asked(VERSIONING) and (is_for_objects or found.object.current_version is not None)
    return str(asked) if is_so else None


def hash_of(found: Found) -> str | None:
    """Of a whole value, where that is asked for and has been computed."""
    stored = found.object
    if stored.sha256 is None or stored.completion != COMPLETE or not found.asked(VALUE_HASH):
        return None
    return stored.sha256.hex()


def _check_hash(_site: Site, value: Any) -> None:
    if value != "" and value not in HASHES:
        raise Invalid(f"{VALUE_HASH} is {str(value)[:60]!r}: expected {' or '.join(HASHES)}")


def _check_placement(site: Site, value: Any) -> None:
    """The first entry about the region decides; what none is about is prohibited."""
    name = "cdmi_geographic_placement"
    if not site.region:
        raise Invalid(f"{name} can't be obeyed: this site doesn't say in which region it keeps its data")
    if not isinstance(value, list) or len(value) > 1000:
        raise Invalid(f'{name} must be an array of regions, such as ["CH", "!US", "*"]')
    for entry in value:
        code = str(entry).removeprefix("!")
        if not isinstance(entry, str) or not (code == "*" or REGION.fullmatch(code)):
            raise Invalid(f"{name} has {str(entry)[:40]!r}: expected codes of ISO 3166, such as CH or !US-CA, or *")
    for entry in value:
        code = entry.removeprefix("!")
        is_within = code == "*" or site.region == code or site.region.startswith(f"{code}-")
        if is_within and not entry.startswith("!"):
            return
        # A part of the region that is excluded may be where the data are.
        if entry.startswith("!") and (is_within or code.startswith(f"{site.region}-")):
            break
    raise NotAllowed(f"{name} doesn't permit {site.region}, which is where this site keeps its data")


POLICIES = (
    Policy(retention.RETENTION_ID, "cdmi_data_retention", _always("true")),
    Policy(
        retention.PERIOD,
        "cdmi_data_retention",
        _always("true"),
        provided=lambda found, _: retention.longest(found.chain),
    ),
    Policy(
        retention.HOLDS,
        "cdmi_data_holds",
        _always("true"),
        provided=lambda found, _: sorted({hold for one in found.chain for hold in retention.holds(one)}),
    ),
    Policy("cdmi_retention_autodelete", "cdmi_data_autodelete", provided=lambda *_: "false"),
    Policy(
        VALUE_HASH,
        VALUE_HASH,
        _always(list(HASHES)),
        _check_hash,
        provided=lambda found, asked: asked if hash_of(found) is not None else None,
        kinds=VALUED,
    ),
    # One copy, on the disk when the answer goes out.
    Policy("cdmi_data_redundancy", "cdmi_data_redundancy", _always("1"), fixed=_always("1")),
    Policy(
        "cdmi_immediate_redundancy",
        "cdmi_immediate_redundancy",
        _always("1"),
        provided=lambda found, _: str(_copies(found.asked("cdmi_data_redundancy")) <= 1).lower(),
    ),
    Policy("cdmi_infrastructure_redundancy", "cdmi_infrastructure_redundancy", _always("1"), fixed=_always("1")),
    Policy(
        "cdmi_geographic_placement",
        "cdmi_geographic_placement",
        lambda site: "true" if site.region else None,
        _check_placement,
        lambda site: [site.region] if site.region else None,
    ),
    Policy("cdmi_encryption", "cdmi_encryption", check=_not_done("cdmi_encryption", "nothing is encrypted here")),
    Policy(
        "cdmi_sanitization_method",
        "cdmi_sanitization_method",
        check=_not_done("cdmi_sanitization_method", "what is deleted isn't overwritten here"),
    ),
    Policy(VERSIONING, VERSIONING, _always(list(VERSIONED)), _check_versioning, provided=_of_versions, kinds=VALUED),
    *(
        Policy(name, capability, _always(str(most)), _limit(name, most), provided=_of_versions, kinds=VALUED)
        for name, capability, most in (
            (VERSIONS_COUNT, VERSIONS_COUNT, VERSIONS_MAX),
            (VERSIONS_AGE, "cdmi_version_age", VERSIONS_AGE_MAX_S),
            (VERSIONS_SIZE, VERSIONS_SIZE, VERSIONS_MAX_BYTES),
        )
    ),
    Policy("cdmi_data_dispersion", "cdmi_data_dispersion"),
    Policy("cdmi_latency", "cdmi_latency"),
    Policy("cdmi_throughput", "cdmi_throughput"),
    Policy("cdmi_RPO", "cdmi_RPO"),
    Policy("cdmi_RTO", "cdmi_RTO"),
)
BY_NAME: Mapping[str, Policy] = {policy.name: policy for policy in POLICIES}
KEEPING = frozenset({*retention.RIGHTS, "cdmi_retention_autodelete"})
"""Of these disks are provided the same as other objects."""
NOT_OF_DISKS = frozenset({VALUE_HASH, *OF_VERSIONING})
OF_DISKS = frozenset(BY_NAME.keys() - NOT_OF_DISKS)
"""What may be asked of a disk: nothing is computed or kept of all that guests write."""


def check(site: Site, name: str, value: Any) -> None:
    """`Invalid` or `NotAllowed` for what a client asks and the site doesn't do."""
    policy = BY_NAME.get(name)
    if policy is not None and value is not None:
        policy.check(site, value)


def provided(site: Site, found: Found) -> dict[str, Any]:
    """What is done of all that is asked for, on the object or above it."""
    items = {}
    for policy in POLICIES:
        asked = found.asked(policy.name) if found.object.kind in policy.kinds else None
        if asked not in (None, "", []):
            items[f"{policy.name}_provided"] = policy.fixed(site) or policy.provided(found, asked)
    return {name: value for name, value in items.items() if value is not None}


def provided_of_disk(site: Site, above: Found, disk: NamedDisk) -> dict[str, Any]:
    """As `provided`, of a disk in the container `above`."""
    found = above
    for metadata in (disk.disk_metadata, disk.metadata):
        below = replace(found.object, metadata=metadata)
        found = replace(found, object=below, ancestors=(*found.ancestors, found.object))
    items = {}
    for name in sorted(OF_DISKS):
        policy, asked = BY_NAME[name], found.asked(name)
        if asked in (None, "", []):
            continue
        items[f"{name}_provided"] = policy.fixed(site)
        if name in KEEPING and not disk.is_others_to_write:
            items[f"{name}_provided"] = policy.provided(found, asked)
    return {name: value for name, value in items.items() if value is not None}


def is_of_disks(site: Site, policy: Policy) -> bool:
    """Whether it is provided of them, and so claimed."""
    return policy.name in OF_DISKS and (policy.name in retention.RIGHTS or policy.fixed(site) is not None)

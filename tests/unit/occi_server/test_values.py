"""Sent values become the door's, or are refused."""

from __future__ import annotations

import re
from enum import StrEnum
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import Invalid
from occi_server import rules, values
from occi_server.entities import Attribute
from occi_server.model import model_of
from occi_server.networkinterface import place_on_network
from occi_server.site import Site
from occi_server.storagelink import device_id, mount_point
from occi_server.values import ValueType
from renderers.cdmi.objectid import encode
from renderers.occi.representation import AttributeValue


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value_type", "sent", "taken"),
    [
        (values.whole(1, 8), 2.0, 2),
        (values.gibibytes(1024, 100), 0.5, 512),
        (values.gibibytes(2**30, 100), 1.5, 3 * 2**29),
        (values.boolean(), False, False),
        (values.boolean(), "true", True),
        (values.one_of(Colour), "red", Colour.RED),
        (values.address(), "10.1.0.5/24", "10.1.0.5"),
        (values.any_address_range(), "10.1.0.5/24", "10.1.0.0/24"),
        (values.any_address_range(), "FD00:1::5/64", "fd00:1::/64"),
        (values.any_address(), "fd00:0:0::5", "fd00::5"),
        (values.mac_address(), "52:54:00:AB:CD:EF", "52:54:00:ab:cd:ef"),
        (values.encoded(10), "aGVs\nbG8=", "aGVsbG8="),
        (values.place("/compute/", "a compute"), f"/compute/{UUID(int=5)}", UUID(int=5)),
        (values.identity(), f"urn:uuid:{UUID(int=5)}", UUID(int=5)),
        (device_id(32473), "/dev/xvdc", "vdc"),
        (device_id(32473), "vdb", "vdb"),
        (device_id(32473), encode(UUID(int=5), 32473).lower(), UUID(int=5)),
        (mount_point(), "/dev/sdb", "vdb"),
        (mount_point(), "/srv/data", "/srv/data"),
    ],
)
def test_a_fitting_value_becomes_the_doors(value_type: ValueType, sent: AttributeValue, taken: object) -> None:
    assert value_type.take(sent) == taken


@pytest.mark.parametrize(
    ("value_type", "sent"),
    [
        (values.whole(1, 8), 9),
        (values.whole(1, 8), True),
        (values.whole(1, 8), "2"),
        (values.whole(1, 8), float("inf")),
        (values.whole(1, 8), float("nan")),
        (values.gibibytes(1024, 100), 0),
        (values.gibibytes(1024, 100), float("nan")),
        (values.gibibytes(1024, 100, 16), 0.001),
        (values.boolean(), "maybe"),
        (values.boolean(), 1),
        (values.text(3), "four"),
        (values.text(), "nul\x00"),
        (values.text(), "\ud800"),
        (values.text(), 5),
        (values.one_of(Colour), "blue"),
        (values.address(), "::1"),
        (values.any_address_range(), "10.1.0.0"),
        (values.any_address_range(), "fd00::1"),
        (values.address6_range(), "10.1.0.0/24"),
        (values.mac_address(), "01:00:5e:00:00:01"),
        (values.encoded(2), "aGVsbG8="),
        (values.encoded(99), "né"),
        (values.place("/compute/", "a compute"), "/network/1"),
        (device_id(32473), "/dev/vdaa"),
        (device_id(32473), ["vdb"]),
        (device_id(32473), encode(UUID(int=5), 1)),
        (mount_point(), "relative"),
    ],
)
def test_another_is_refused_by_the_name_of_its_attribute(value_type: ValueType, sent: AttributeValue) -> None:
    attribute: Attribute[object] = Attribute("the.attribute", value_type)

    with pytest.raises(Invalid, match=r"the\.attribute is .*: expected ") as refused:
        attribute.take(sent)
    assert value_type.expected in refused.value.message


TEXTS = st.text(max_size=40) | st.sampled_from(
    ["true", "None", "1e400", "/compute/", "/ipreservation/x", "/securitygroup/", "urn:uuid:", "10.0.0.0/33",
     "fe80::%1/10", "::ffff:1.2.3.4/200", "01:00:5e:00:00:01", "=", "aa==", "/dev/vd", "٣",
     "[", "[[]]", "[1]", "\ud800", "-1", "80-"]
)  # fmt: skip
SCALARS = (
    TEXTS | st.booleans() | st.integers() | st.floats() | st.sampled_from([10**400, 2**63, float("inf"), float("nan")])
)
MEMBERS = st.sampled_from(sorted(rules.MEMBERS)) | st.text(max_size=5)
SENT = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(MEMBERS, inner, max_size=4), max_leaves=8
)
NEARLY_RULES = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["inbound", "outbound"]) | SENT},
        optional={
            "protocol": st.sampled_from(["tcp", "UDP", "icmp", "all"]) | SENT,
            **dict.fromkeys(("port", "range", "group", "ipversion"), SENT),
        },
    ),
    max_size=3,
)
ATTRIBUTES = {
    attribute.name: attribute
    for kind in model_of(Site()).types
    for attribute in (*kind.by_name.values(), *(found for action in kind.actions for found in action.parameters))
}


@given(SENT | NEARLY_RULES | NEARLY_RULES.map(repr))
def test_whatever_is_sent_is_taken_or_refused_with_a_reason(sent: AttributeValue) -> None:
    for name, attribute in ATTRIBUTES.items():
        try:
            attribute.value.take(sent)
        except ValueError:
            with pytest.raises(Invalid, match=f"^{re.escape(name)} is "):
                attribute.take(sent)


def test_an_interface_leads_to_a_network_or_to_a_reserved_address_of_one() -> None:
    target, identity = place_on_network(), UUID(int=5)
    assert target.take(f"/network/{identity}") == {"network_id": identity, "reservation_id": None}
    assert target.take(f"/ipreservation/{identity}") == {"reservation_id": identity}
    unreadable: tuple[AttributeValue, ...] = (f"/storage/{identity}", "/ipreservation/", "/ipreservation/soon", 7, True)
    for refused in unreadable:
        with pytest.raises(ValueError):
            target.take(refused)

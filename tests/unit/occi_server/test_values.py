"""Sent values become the door's, or are refused."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

import pytest

from backends.errors import Invalid
from occi_server import values
from occi_server.entities import Attribute
from occi_server.networkinterface import place_on_network
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


def test_an_interface_leads_to_a_network_or_to_a_reserved_address_of_one() -> None:
    target, identity = place_on_network(), UUID(int=5)
    assert target.take(f"/network/{identity}") == {"network_id": identity, "reservation_id": None}
    assert target.take(f"/ipreservation/{identity}") == {"reservation_id": identity}
    unreadable: tuple[AttributeValue, ...] = (f"/storage/{identity}", "/ipreservation/", "/ipreservation/soon", 7, True)
    for refused in unreadable:
        with pytest.raises(ValueError):
            target.take(refused)

"""The networkinterface kind, a compute's link to a network or to a reserved address of one, and its mixins."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from backends.cloud import Cloud, InterfaceChanges
from backends.model import (
    BANDWIDTH_MAX_KBIT_S,
    BANDWIDTH_MIN_KBIT_S,
    Allocation,
    Interface,
    LinkState,
    NewInterface,
)
from occi_server import ipreservation, names, network, values
from occi_server.entities import (
    Attribute,
    EntityType,
    MixinType,
    Wanted,
    identified,
    shown_attributes,
    shown_mixins,
    state_message,
    titled,
)
from occi_server.links import SOURCE, inline_fields, kinds_of_ends, refuse_links, tagged
from occi_server.values import ValueType
from renderers.occi.representation import AttributeValue, Kind, Link, LinkEnd, Mixin, SentLink

LOCATION = "/networkinterface/"


def place_on_network() -> ValueType:
    """The location of a network, or of the IP reservation whose addresses the interface is to have."""
    network_place = values.place(network.LOCATION, "a network")
    reservation_place = values.place(ipreservation.LOCATION, "an IP reservation")

    def take(value: AttributeValue) -> dict[str, UUID | None]:
        if isinstance(value, str) and value.startswith(ipreservation.LOCATION):
            return {"reservation_id": reservation_place.take(value)}
        return {"network_id": network_place.take(value), "reservation_id": None}

    expected = f"{network_place.expected}, or of an IP reservation, such as {ipreservation.LOCATION}UUID"
    return ValueType("string", expected, take, network_place.pattern)


TARGET: Attribute[Interface] = Attribute(
    "occi.core.target",
    place_on_network(),
    lambda interface: end_of(interface).location,
    "network_id",
    mutable=False,
    required=True,
    at_creation=True,
    fields_of=lambda fields: fields,
)
OWN: tuple[Attribute[Interface], ...] = (
    Attribute(
        "occi.networkinterface.interface",
        values.matching(r"[A-Za-z][A-Za-z0-9._-]*", "an interface name such as eth0", 15),
        lambda interface: interface.name,
        "name",
        mutable=False,
        description="The guest's name for it; the cloud chooses",
    ),
    Attribute(
        "occi.networkinterface.mac",
        values.mac_address(),
        lambda interface: interface.mac,
        "mac",
        description="MAC address; the cloud chooses when not given",
    ),
    Attribute(
        "occi.networkinterface.state",
        values.one_of(LinkState),
        lambda interface: interface.state.value,
        "state",
        mutable=False,
        description="Present state",
    ),
    state_message("occi.networkinterface.state.message"),
)
OF_ADDRESSES: tuple[Attribute[Interface], ...] = (
    Attribute(
        "occi.networkinterface.address",
        values.any_address(),
        lambda interface: interface.address or interface.address6,
        "address",
        description="Address, the IPv4 one where there are two; the cloud chooses when not given",
        fields_of=ipreservation.address_fields,
    ),
    Attribute(
        "occi.networkinterface.gateway",
        values.address(),
        lambda interface: interface.gateway,
        "gateway",
        description="IPv4 address of the gateway",
    ),
    Attribute(
        "occi.networkinterface.allocation",
        values.one_of(Allocation),
        lambda interface: interface.allocation.value,
        "allocation",
        mutable=False,
        at_creation=True,
        description="dynamic: by DHCP",
    ),
)
IP_NETWORK_INTERFACE: MixinType[Interface] = MixinType(
    Mixin(
        names.IP_NETWORK_INTERFACE,
        "IP network interface",
        applies=(names.NETWORK_INTERFACE,),
        attributes=tuple(attribute.definition() for attribute in OF_ADDRESSES),
        location="/mixin/ipnetworkinterface/",
    ),
    OF_ADDRESSES,
    carried_by=lambda interface: interface.address is not None or interface.address6 is not None,
)
OF_ADDRESSES6: tuple[Attribute[Interface], ...] = (
    Attribute(
        f"{names.OWN_ATTRIBUTES}.networkinterface.address6",
        values.address6(),
        lambda interface: interface.address6,
        "address6",
        description="IPv6 address; made of the MAC address when not given",
    ),
)
IPV6_NETWORK_INTERFACE: MixinType[Interface] = MixinType(
    Mixin(
        names.IPV6_NETWORK_INTERFACE,
        "IPv6 network interface beside or without IPv4",
        applies=(names.NETWORK_INTERFACE,),
        attributes=tuple(attribute.definition() for attribute in OF_ADDRESSES6),
        location="/mixin/ipv6networkinterface/",
    ),
    OF_ADDRESSES6,
    carried_by=lambda interface: interface.address6 is not None,
)

OF_BANDWIDTH: tuple[Attribute[Interface], ...] = (
    Attribute(
        f"{names.OWN_ATTRIBUTES}.networkinterface.bandwidth.ingress_kbit_s",
        values.whole(BANDWIDTH_MIN_KBIT_S, BANDWIDTH_MAX_KBIT_S),
        lambda interface: interface.ingress_kbit_s,
        "ingress_kbit_s",
        clearable=True,
        description="Most that the guest receives, in kbit/s; no more than the site's limit",
    ),
    Attribute(
        f"{names.OWN_ATTRIBUTES}.networkinterface.bandwidth.egress_kbit_s",
        values.whole(BANDWIDTH_MIN_KBIT_S, BANDWIDTH_MAX_KBIT_S),
        lambda interface: interface.egress_kbit_s,
        "egress_kbit_s",
        clearable=True,
        description="Most that the guest sends, in kbit/s; no more than the site's limit",
    ),
)
BANDWIDTH: MixinType[Interface] = MixinType(
    Mixin(
        names.BANDWIDTH,
        "Limits of what an interface receives and sends",
        applies=(names.NETWORK_INTERFACE,),
        attributes=tuple(attribute.definition() for attribute in OF_BANDWIDTH),
        location="/mixin/bandwidth/",
    ),
    OF_BANDWIDTH,
    carried_by=lambda interface: interface.ingress_kbit_s is not None or interface.egress_kbit_s is not None,
)


def _count(field: str, description: str) -> Attribute[Interface]:
    def read(interface: Interface) -> int | None:
        count: int | None = getattr(interface, field)
        return count

    return Attribute(
        f"{names.OWN_ATTRIBUTES}.networkinterface.traffic.{field}",
        values.whole(0, 2**63 - 1),
        read,
        field,
        mutable=False,
        moves=True,
        description=description,
    )


OF_TRAFFIC = (
    _count("received_bytes", "Bytes that have reached the guest, ever"),
    _count("received_packets", "Packets that have reached the guest, ever"),
    _count("sent_bytes", "Bytes that the guest has sent, ever"),
    _count("sent_packets", "Packets that the guest has sent, ever"),
)
TRAFFIC: MixinType[Interface] = MixinType(
    Mixin(
        names.TRAFFIC,
        "Counts of what an interface has received and sent",
        applies=(names.NETWORK_INTERFACE,),
        attributes=tuple(attribute.definition() for attribute in OF_TRAFFIC),
        location="/mixin/traffic/",
    ),
    OF_TRAFFIC,
    carried_by=lambda interface: interface.traffic is not None,
)


def end_of(interface: Interface) -> LinkEnd:
    if interface.reservation_id is not None:
        return LinkEnd(f"{ipreservation.LOCATION}{interface.reservation_id}", names.IP_RESERVATION)
    return LinkEnd(f"{network.LOCATION}{interface.network_id}", names.NETWORK)


def describe(interface: Interface) -> Link:
    identity = str(interface.id)
    return Link(
        kind=names.NETWORK_INTERFACE,
        id="urn:uuid:" + identity,
        location=LOCATION + identity,
        source=LinkEnd(f"/compute/{interface.machine_id}", names.COMPUTE),
        target=end_of(interface),
        title=interface.title,
        mixins=shown_mixins(NETWORK_INTERFACE, interface, interface.tags),
        attributes=shown_attributes(NETWORK_INTERFACE, interface),
    )


def inline(link: SentLink) -> NewInterface:
    return NewInterface(
        **inline_fields(NETWORK_INTERFACE, tuple(mixin.mixin.id for mixin in NETWORK_INTERFACE.mixins), link)
    )


def create(cloud: Cloud, wanted: Wanted) -> Interface:
    fields = dict(wanted.fields)
    machine_id = fields.pop("machine_id")
    refuse_links(cloud, machine_id, wanted.links)
    return tagged(cloud, wanted, cloud.create_interface(machine_id, NewInterface(**fields)), cloud.interface)


NETWORK_INTERFACE: EntityType[Interface] = EntityType(
    kind=Kind(
        names.NETWORK_INTERFACE,
        "Link to a network",
        names.LINK,
        tuple(attribute.definition() for attribute in OWN),
        location=LOCATION,
    ),
    attributes=(
        identified(),
        titled(),
        SOURCE,
        TARGET,
        *kinds_of_ends(names.COMPUTE, names.NETWORK, names.IP_RESERVATION),
        *OWN,
    ),
    mixins=(IP_NETWORK_INTERFACE, IPV6_NETWORK_INTERFACE, BANDWIDTH, TRAFFIC),
    actions=(),
    describe=describe,
    rows=lambda cloud, where, page: cloud.interfaces(where, page),
    ids=lambda cloud, where, page: cloud.interface_ids(where, page),
    row=lambda cloud, interface_id: cloud.interface(interface_id),
    create=create,
    update=lambda cloud, interface_id, fields: cloud.update_interface(interface_id, cast(InterfaceChanges, fields)),
    delete=lambda cloud, interface_id: cloud.delete_interface(interface_id),
    add_links=refuse_links,
)

"""The networkinterface kind, a compute's link to a network, and its ipnetworkinterface mixin."""

from __future__ import annotations

from typing import cast

from backends.cloud import Cloud, InterfaceChanges
from backends.model import Allocation, Interface, LinkState, NewInterface
from occi_server import names, values
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
from occi_server.links import SOURCE, inline_fields, kinds_of_ends, refuse_links, tagged, target
from renderers.occi.representation import Kind, Link, LinkEnd, Mixin, SentLink

LOCATION = "/networkinterface/"

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
        field_of=lambda value: "address6" if ":" in value else "address",
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


def describe(interface: Interface) -> Link:
    identity = str(interface.id)
    return Link(
        kind=names.NETWORK_INTERFACE,
        id="urn:uuid:" + identity,
        location=LOCATION + identity,
        source=LinkEnd(f"/compute/{interface.machine_id}", names.COMPUTE),
        target=LinkEnd(f"/network/{interface.network_id}", names.NETWORK),
        title=interface.title,
        mixins=shown_mixins(NETWORK_INTERFACE, interface, interface.tags),
        attributes=shown_attributes(NETWORK_INTERFACE, interface),
    )


def inline(link: SentLink) -> NewInterface:
    return NewInterface(
        **inline_fields(NETWORK_INTERFACE, (names.IP_NETWORK_INTERFACE, names.IPV6_NETWORK_INTERFACE), link)
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
        target("/network/", "a network", "network_id"),
        *kinds_of_ends(names.COMPUTE, names.NETWORK),
        *OWN,
    ),
    mixins=(IP_NETWORK_INTERFACE, IPV6_NETWORK_INTERFACE),
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

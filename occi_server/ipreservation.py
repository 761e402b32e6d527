"""The ipreservation kind of EGI's extension: an address of a network that a project keeps, whichever compute has it.

Which network is said by a mixin, the pool, as OpenStack's users know it from floating addresses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast
from uuid import UUID

import falcon

from backends.cloud import Cloud, ReservationChanges
from backends.errors import Invalid, NotFound
from backends.model import Filter, LinkState, Network, NetworkClass, NewReservation, Reservation
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
    summarised,
    titled,
)
from renderers.occi.representation import CategoryId, Kind, Mixin, Resource, SentLink

LOCATION = "/ipreservation/"
POOL_LOCATION = "/mixin/floatingippool/"
OWN_NETWORK = "network-"
"""What the terms of the pools of projects' own networks begin with: old parsers want a letter there."""


def address_fields(address: str) -> dict[str, object]:
    return {"address6" if ":" in address else "address": address}


OWN: tuple[Attribute[Reservation], ...] = (
    Attribute(
        "occi.ipreservation.address",
        values.any_address(),
        lambda reservation: reservation.address or reservation.address6,
        "address",
        mutable=False,
        at_creation=True,
        description="Address, the IPv4 one where there are two; the cloud chooses when not given",
        fields_of=address_fields,
    ),
    Attribute(
        "occi.ipreservation.used",
        values.boolean(),
        lambda reservation: reservation.used,
        "used",
        mutable=False,
        description="Whether a compute has it",
    ),
    Attribute(
        "occi.ipreservation.state",
        values.one_of(LinkState),
        lambda reservation: reservation.state.value,
        "state",
        mutable=False,
        description="Present state of its network",
    ),
    state_message("occi.ipreservation.state.message"),
)
INHERITED: tuple[Attribute[Reservation], ...] = (
    Attribute("occi.network.vlan", values.whole(0, 4095), lambda reservation: reservation.vlan, "vlan", mutable=False),
    Attribute("occi.network.label", values.text(64), lambda reservation: reservation.label, "label", mutable=False),
    Attribute(
        "occi.network.state",
        values.one_of(LinkState),
        lambda reservation: reservation.state.value,
        "state",
        mutable=False,
    ),
    state_message("occi.network.state.message"),
)
"""From the network kind, whose child this is: what its network has."""
OF_IPV6: tuple[Attribute[Reservation], ...] = (
    Attribute(
        f"{names.OWN_ATTRIBUTES}.ipreservation.address6",
        values.address6(),
        lambda reservation: reservation.address6,
        "address6",
        mutable=False,
        at_creation=True,
        description="IPv6 address; the cloud chooses when not given",
    ),
)
IPV6_RESERVATION: MixinType[Reservation] = MixinType(
    Mixin(
        names.IPV6_RESERVATION,
        "Reserved IPv6 address beside or without IPv4",
        applies=(names.IP_RESERVATION,),
        attributes=tuple(attribute.definition() for attribute in OF_IPV6),
        location="/mixin/ipv6reservation/",
    ),
    OF_IPV6,
    carried_by=lambda reservation: reservation.address6 is not None,
)
POOL_BASE: MixinType[Reservation] = MixinType(
    Mixin(
        names.POOL,
        "Pool of addresses",
        applies=(names.IP_RESERVATION,),
        location=POOL_LOCATION,
    ),
    carried_by=lambda _reservation: True,
    shown=False,
)


def pool(network: Network) -> MixinType[Reservation]:
    """The mixin that stands for a network's addresses."""
    identity = _pool_id(network.network_class, network.id)
    return MixinType(
        Mixin(
            identity,
            "Addresses of a network of the site" if network.shared else "Addresses of a network of the project",
            depends=(names.POOL,),
            applies=(names.IP_RESERVATION,),
            location=f"{POOL_LOCATION}{identity.term}/",
        ),
        carried_by=lambda reservation: reservation.network_id == network.id,
        equals={"network_id": network.id},
        fields={"network_id": network.id},
        shown=False,
    )


def _pool_id(network_class: NetworkClass | None, network_id: UUID) -> CategoryId:
    return CategoryId(names.POOLS, network_class.value if network_class else f"{OWN_NETWORK}{network_id}")


def pools(cloud: Cloud) -> tuple[Mixin, ...]:
    """Those that the caller can have addresses of."""
    networks = cloud.networks()
    return tuple(pool(network).mixin for network in networks if network.cidr is not None or network.cidr6 is not None)


def pool_named(cloud: Cloud, term: str) -> MixinType[Reservation]:
    found: Sequence[Network] = ()
    if term in list(NetworkClass):
        found = cloud.networks(Filter({"network_class": term}))
    elif term.startswith(OWN_NETWORK):
        try:
            found = [cloud.network(UUID(term.removeprefix(OWN_NETWORK)))]
        except (ValueError, NotFound):
            found = ()
    if not found:
        raise falcon.HTTPNotFound(description=f"There is no floatingippool {term[:80]!r}; GET /-/ lists them.")
    return pool(found[0])


def describe(reservation: Reservation) -> Resource:
    return Resource(
        kind=names.IP_RESERVATION,
        id=reservation.id.urn,
        location=LOCATION + str(reservation.id),
        title=reservation.title,
        summary=reservation.summary,
        mixins=(
            _pool_id(reservation.network_class, reservation.network_id),
            *shown_mixins(IP_RESERVATION, reservation, reservation.tags),
        ),
        attributes=shown_attributes(IP_RESERVATION, reservation),
    )


def create(cloud: Cloud, wanted: Wanted) -> Reservation:
    add_links(cloud, UUID(int=0), wanted.links)
    return cloud.reserve(NewReservation(**wanted.fields, tag_ids=wanted.tag_ids))


def add_links(_cloud: Cloud, _reservation_id: UUID, links: Sequence[SentLink]) -> None:
    if links:
        raise Invalid("An IP reservation owns no links: link a compute to it.")


IP_RESERVATION: EntityType[Reservation] = EntityType(
    kind=Kind(
        names.IP_RESERVATION,
        "Reserved address",
        names.NETWORK,
        tuple(attribute.definition() for attribute in OWN),
        location=LOCATION,
    ),
    attributes=(identified(), titled(), summarised(), *OWN, *INHERITED),
    mixins=(IPV6_RESERVATION, POOL_BASE),
    actions=(),
    describe=describe,
    rows=lambda cloud, where, page: cloud.reservations(where, page),
    ids=lambda cloud, where, page: cloud.reservation_ids(where, page),
    row=lambda cloud, reservation_id: cloud.reservation(reservation_id),
    create=create,
    update=lambda cloud, reservation_id, fields: cloud.update_reservation(
        reservation_id, cast(ReservationChanges, fields)
    ),
    delete=lambda cloud, reservation_id: cloud.release(reservation_id),
    add_links=add_links,
)

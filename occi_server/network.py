"""The network kind and its ipnetwork mixin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast
from uuid import UUID

from backends.cloud import Cloud, NetworkChanges
from backends.errors import Invalid
from backends.model import Allocation, LinkState, Network, NetworkClass, NewNetwork
from backends.states import NETWORK_ACTIONS
from occi_server import names, values
from occi_server.entities import (
    ActionType,
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
from renderers.occi.representation import Action, CategoryId, Kind, Mixin, Resource, SentLink

LOCATION = "/network/"

OWN: tuple[Attribute[Network], ...] = (
    Attribute(
        "occi.network.vlan",
        values.whole(0, 4095),
        lambda network: network.vlan,
        "vlan",
        clearable=True,
        description="IEEE 802.1Q VLAN identifier, of those that the site offers",
    ),
    Attribute(
        "occi.network.label",
        values.matching(r"[A-Za-z0-9_.:-]+", "a word of letters, digits and _.:-", 64),
        lambda network: network.label,
        "label",
        clearable=True,
        description="A label to know it by",
    ),
    Attribute(
        "occi.network.state",
        values.one_of(LinkState),
        lambda network: network.state.value,
        "state",
        mutable=False,
        description="Present state",
    ),
    state_message("occi.network.state.message"),
)
OF_ADDRESSES: tuple[Attribute[Network], ...] = (
    Attribute(
        "occi.network.address",
        values.any_address_range(),
        lambda network: network.cidr or network.cidr6,
        "cidr",
        clearable=True,
        description="Range in CIDR notation: the IPv4 one where there are two",
        fields_of=lambda value: {"cidr6" if ":" in value else "cidr": value},
    ),
    Attribute(
        "occi.network.gateway",
        values.address(),
        lambda network: network.gateway,
        "gateway",
        clearable=True,
        description="IPv4 address of the gateway",
    ),
    Attribute(
        "occi.network.allocation",
        values.one_of(Allocation),
        lambda network: network.allocation.value,
        "allocation",
        default=Allocation.DYNAMIC.value,
        description="dynamic: by DHCP",
    ),
)
IP_NETWORK: MixinType[Network] = MixinType(
    Mixin(
        names.IP_NETWORK,
        "IP network",
        applies=(names.NETWORK,),
        attributes=tuple(attribute.definition() for attribute in OF_ADDRESSES),
        location="/mixin/ipnetwork/",
    ),
    OF_ADDRESSES,
    carried_by=lambda network: network.cidr is not None or network.cidr6 is not None,
)
OF_ADDRESSES6: tuple[Attribute[Network], ...] = (
    Attribute(
        f"{names.OWN_ATTRIBUTES}.network.address6",
        values.address6_range(),
        lambda network: network.cidr6,
        "cidr6",
        clearable=True,
        description="IPv6 range in CIDR notation, a /64",
    ),
)
IPV6_NETWORK: MixinType[Network] = MixinType(
    Mixin(
        names.IPV6_NETWORK,
        "IPv6 network beside or without IPv4",
        applies=(names.NETWORK,),
        attributes=tuple(attribute.definition() for attribute in OF_ADDRESSES6),
        location="/mixin/ipv6network/",
    ),
    OF_ADDRESSES6,
    carried_by=lambda network: network.cidr6 is not None,
)
CLASSES: tuple[MixinType[Network], ...] = tuple(
    MixinType(
        Mixin(
            CategoryId(names.EGI_NETWORK, term),
            title,
            applies=(names.NETWORK,),
            location=f"/mixin/{term}/",
        ),
        carried_by=lambda network, own=network_class: network.network_class is own,  # type: ignore[misc]
        equals={"network_class": network_class.value},
        fields={"network_class": network_class},
    )
    for network_class, term, title in (
        (NetworkClass.PUBLIC, "public_net", "The site's: reached from everywhere"),
        (NetworkClass.LOCAL, "nat_net", "The site's: out to the world through NAT"),
        (NetworkClass.PRIVATE, "private_net", "The site's: within one host and out through NAT"),
    )
)

ACTIONS: tuple[ActionType[Network], ...] = (
    ActionType(
        Action(CategoryId(names.NETWORK_ACTION, "up"), "Up"),
        lambda cloud, network_id, _parameters: cloud.network_up(network_id),
    ),
    ActionType(
        Action(CategoryId(names.NETWORK_ACTION, "down"), "Down"),
        lambda cloud, network_id, _parameters: cloud.network_down(network_id),
    ),
)
APPLICABLE = {
    state: tuple(CategoryId(names.NETWORK_ACTION, term) for term in terms) for state, terms in NETWORK_ACTIONS.items()
}


def describe(network: Network) -> Resource:
    return Resource(
        kind=names.NETWORK,
        id=network.id.urn,
        location=LOCATION + str(network.id),
        title=network.title,
        summary=network.summary,
        mixins=shown_mixins(NETWORK, network, network.tags),
        attributes=shown_attributes(NETWORK, network),
        actions=() if network.shared else APPLICABLE[network.state],
    )


def create(cloud: Cloud, wanted: Wanted) -> Network:
    add_links(cloud, UUID(int=0), wanted.links)
    return cloud.create_network(NewNetwork(**wanted.fields, tag_ids=wanted.tag_ids))


def add_links(_cloud: Cloud, _network_id: UUID, links: Sequence[SentLink]) -> None:
    if links:
        raise Invalid("A network owns no links: link a compute to it.")


NETWORK: EntityType[Network] = EntityType(
    kind=Kind(
        names.NETWORK,
        "Network resource",
        names.RESOURCE,
        tuple(attribute.definition() for attribute in OWN),
        tuple(action.action.id for action in ACTIONS),
        LOCATION,
    ),
    attributes=(identified(), titled(), summarised(), *OWN),
    mixins=(IP_NETWORK, IPV6_NETWORK, *CLASSES),
    actions=ACTIONS,
    describe=describe,
    rows=lambda cloud, where, page: cloud.networks(where, page),
    ids=lambda cloud, where, page: cloud.network_ids(where, page),
    row=lambda cloud, network_id: cloud.network(network_id),
    create=create,
    update=lambda cloud, network_id, fields: cloud.update_network(network_id, cast(NetworkChanges, fields)),
    delete=lambda cloud, network_id: cloud.delete_network(network_id),
    add_links=add_links,
    deletable=lambda network: not network.shared,
)

"""The network kind and its ipnetwork mixin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast
from uuid import UUID

from backends.cloud import Cloud, NetworkChanges
from backends.errors import Invalid
from backends.model import Allocation, LinkState, Network, NewNetwork
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
        description="IEEE 802.1Q VLAN identifier; kept, but without effect",
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
        values.address_range(),
        lambda network: network.cidr,
        "cidr",
        clearable=True,
        description="IPv4 range in CIDR notation",
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
    carried_by=lambda network: network.cidr is not None,
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
    mixins=(IP_NETWORK,),
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

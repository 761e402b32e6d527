"""The compute kind: machines, with the templates and credentials they are made from.

The console that a running machine shows is in `console`, its interfaces and disks are in kinds of their own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, cast
from uuid import UUID

from backends.cloud import Cloud, MachineChanges
from backends.errors import Invalid
from backends.model import (
    Architecture,
    Attachment,
    Image,
    Machine,
    MachineState,
    NewMachine,
    RestartMethod,
    SaveMethod,
    StopMethod,
    SuspendMethod,
)
from backends.states import MACHINE_ACTIONS
from backends.terms import USER_DATA_MAX_BYTES
from occi_server import console, ipreservation, names, network, networkinterface, securitygroup, storagelink, values
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
from occi_server.templates import Templates
from renderers.occi.representation import Action, CategoryId, Kind, Mixin, Resource, SentLink

LOCATION = "/compute/"

ARCHITECTURE: Attribute[Machine] = Attribute(
    "occi.compute.architecture",
    values.one_of(Architecture),
    lambda machine: machine.architecture.value,
    "architecture",
    default=Architecture.X64.value,
    description="CPU architecture",
)
CORES: Attribute[Machine] = Attribute(
    "occi.compute.cores",
    values.whole(1, 255),
    lambda machine: machine.cores,
    "cores",
    description="Virtual CPUs; the template's when not given",
)
HOSTNAME: Attribute[Machine] = Attribute(
    "occi.compute.hostname",
    values.matching(
        r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*",
        "a host name of letters, digits, hyphens and dots",
        253,
    ),
    lambda machine: machine.hostname,
    "hostname",
    clearable=True,
    description="The guest's host name",
)
MEMORY: Attribute[Machine] = Attribute(
    "occi.compute.memory",
    values.gibibytes(values.MEBIBYTES_PER_GIBIBYTE, 16384, 16),
    lambda machine: machine.memory_mib / values.MEBIBYTES_PER_GIBIBYTE,
    "memory_mib",
    description="Memory in GiB; the template's when not given",
)
SHARE: Attribute[Machine] = Attribute(
    "occi.compute.share",
    values.whole(2, 262144),
    lambda machine: machine.share,
    "share",
    clearable=True,
    description="Relative weight when machines compete for the CPU",
)
SPEED: Attribute[Machine] = Attribute(
    "occi.compute.speed",
    values.above_zero(1000),
    description="Accepted from OCCI 1.1 clients and not kept: the clock is the host's",
)
STATE: Attribute[Machine] = Attribute(
    "occi.compute.state",
    values.one_of(MachineState),
    lambda machine: machine.state.value,
    "state",
    mutable=False,
    description="Present state",
)
OWN = (ARCHITECTURE, CORES, HOSTNAME, MEMORY, SHARE, SPEED, STATE, state_message("occi.compute.state.message"))


def _key(name: str, read: bool) -> Attribute[Machine]:
    return Attribute(
        name,
        values.text(16384),
        (lambda machine: machine.ssh_key) if read else None,
        "ssh_key",
        required=True,
        clearable=True,
        description="Public key that may log in",
    )


def _data(name: str, read: bool) -> Attribute[Machine]:
    return Attribute(
        name,
        values.encoded(USER_DATA_MAX_BYTES),
        (lambda machine: machine.user_data) if read else None,
        "user_data",
        required=True,
        clearable=True,
        description="Base64; given to the guest when it boots",
    )


KEY_NAME: Attribute[Machine] = Attribute(
    "org.openstack.credentials.publickey.name",
    values.text(),
    description="Accepted and not kept: the key is all that a machine needs",
)
SSH_KEY_ATTRIBUTES = (_key("occi.credentials.ssh.publickey", read=True),)
USER_DATA_ATTRIBUTES = (_data("occi.compute.userdata", read=True),)
PUBLIC_KEY_ATTRIBUTES = (KEY_NAME, _key("org.openstack.credentials.publickey.data", read=False))
OPENSTACK_DATA_ATTRIBUTES = (_data("org.openstack.compute.user_data", read=False),)


def _mixin(
    category: CategoryId, title: str, location: str, attributes: tuple[Attribute[Machine], ...], *, shown: bool
) -> MixinType[Machine]:
    field = next(attribute.field for attribute in attributes if attribute.field)
    return MixinType(
        Mixin(
            category,
            title,
            applies=(names.COMPUTE,),
            attributes=tuple(attribute.definition() for attribute in attributes),
            location=location,
        ),
        attributes,
        carried_by=lambda machine: getattr(machine, field) is not None,
        shown=shown,
    )


MIXINS = (
    _mixin(names.SSH_KEY, "SSH public key", "/mixin/ssh_key/", SSH_KEY_ATTRIBUTES, shown=True),
    _mixin(names.USER_DATA, "User data", "/mixin/user_data/", USER_DATA_ATTRIBUTES, shown=True),
    _mixin(
        names.OPENSTACK_PUBLIC_KEY,
        "SSH public key as OpenStack names it",
        "/mixin/openstack_public_key/",
        PUBLIC_KEY_ATTRIBUTES,
        shown=False,
    ),
    _mixin(
        names.OPENSTACK_USER_DATA,
        "User data as OpenStack names it",
        "/mixin/openstack_user_data/",
        OPENSTACK_DATA_ATTRIBUTES,
        shown=False,
    ),
)


def _action(term: str, title: str, *parameters: Attribute[Any]) -> Action:
    return Action(
        CategoryId(names.COMPUTE_ACTION, term), title, tuple(parameter.definition() for parameter in parameters)
    )


def _stop(cloud: Cloud, machine_id: UUID, parameters: Mapping[str, Any]) -> Machine:
    return cloud.stop_machine(machine_id, parameters.get("method", StopMethod.GRACEFUL))


def _restart(cloud: Cloud, machine_id: UUID, parameters: Mapping[str, Any]) -> Machine:
    return cloud.restart_machine(machine_id, parameters.get("method", RestartMethod.GRACEFUL))


def _suspend(cloud: Cloud, machine_id: UUID, parameters: Mapping[str, Any]) -> Machine:
    return cloud.suspend_machine(machine_id, parameters.get("method", SuspendMethod.SUSPEND))


def _save(cloud: Cloud, machine_id: UUID, parameters: Mapping[str, Any]) -> Image:
    return cloud.save_machine(machine_id, parameters.get("method", SaveMethod.HOT), parameters.get("name"))


def _method(
    choices: type[StopMethod] | type[RestartMethod] | type[SuspendMethod] | type[SaveMethod], default: str
) -> Attribute[Machine]:
    return Attribute("method", values.one_of(choices), field="method", default=default, description="How")


STOP_METHOD = _method(StopMethod, StopMethod.GRACEFUL.value)
RESTART_METHOD = _method(RestartMethod, RestartMethod.GRACEFUL.value)
SUSPEND_METHOD = _method(SuspendMethod, SuspendMethod.SUSPEND.value)
SAVE_METHOD = _method(SaveMethod, SaveMethod.HOT.value)
SAVE_NAME: Attribute[Machine] = Attribute("name", values.text(), field="name", description="Name of the new image")

ACTIONS: tuple[ActionType[Machine], ...] = (
    ActionType(_action("start", "Start"), lambda cloud, machine_id, _parameters: cloud.start_machine(machine_id)),
    ActionType(_action("stop", "Stop", STOP_METHOD), _stop, (STOP_METHOD,)),
    ActionType(_action("restart", "Restart", RESTART_METHOD), _restart, (RESTART_METHOD,)),
    ActionType(_action("suspend", "Suspend", SUSPEND_METHOD), _suspend, (SUSPEND_METHOD,)),
    ActionType(_action("save", "Save as a new image", SAVE_METHOD, SAVE_NAME), _save, (SAVE_METHOD, SAVE_NAME)),
)
APPLICABLE = {
    state: tuple(CategoryId(names.COMPUTE_ACTION, term) for term in terms) for state, terms in MACHINE_ACTIONS.items()
}

KIND = Kind(
    names.COMPUTE,
    "Compute resource",
    names.RESOURCE,
    tuple(attribute.definition() for attribute in OWN),
    tuple(action.action.id for action in ACTIONS),
    LOCATION,
)


def compute_type(templates: Templates, storage_link: EntityType[Attachment]) -> EntityType[Machine]:
    """The kind as a provider with these templates serves it."""

    def describe(machine: Machine) -> Resource:
        identity = str(machine.id)
        links = (
            *(networkinterface.describe(interface) for interface in machine.interfaces),
            *(storagelink.describe(storage_link, attachment) for attachment in machine.attachments),
            *(securitygroup.describe_link(link) for link in machine.groups),
            *console.of_machine(machine, templates),
        )
        return Resource(
            kind=names.COMPUTE,
            id="urn:uuid:" + identity,
            location=LOCATION + identity,
            title=machine.title,
            summary=machine.summary,
            mixins=(*templates.of_machine(machine), *shown_mixins(kind, machine, machine.tags)),
            attributes=shown_attributes(kind, machine) | templates.attributes_of(machine),
            actions=APPLICABLE[machine.state],
            links=links,
        )

    def create(cloud: Cloud, wanted: Wanted) -> Machine:
        machine = NewMachine(**wanted.fields, tag_ids=wanted.tag_ids)
        interfaces = []
        attachments = []
        groups = []
        for link in wanted.links:
            made = link_kind(link)
            if made == names.NETWORK_INTERFACE:
                interfaces.append(networkinterface.inline(link))
            elif made == names.SECURITY_GROUP_LINK:
                groups.append(securitygroup.inline(link))
            else:
                attachments.append(storagelink.inline(storage_link, link))
        return cloud.create_machine(
            dataclasses.replace(
                machine, interfaces=tuple(interfaces), attachments=tuple(attachments), groups=tuple(groups)
            )
        )

    def add_links(cloud: Cloud, machine_id: UUID, links: Sequence[SentLink]) -> None:
        for link in links:
            made = link_kind(link)
            if made == names.NETWORK_INTERFACE:
                cloud.create_interface(machine_id, networkinterface.inline(link))
            elif made == names.SECURITY_GROUP_LINK:
                cloud.join_group(machine_id, securitygroup.inline(link))
            else:
                cloud.attach(machine_id, storagelink.inline(storage_link, link))

    kind: EntityType[Machine] = EntityType(
        kind=KIND,
        attributes=(identified(), titled(), summarised(), *OWN),
        mixins=(*MIXINS, *templates.sizes),
        actions=ACTIONS,
        describe=describe,
        rows=lambda cloud, where, page: cloud.machines(where, page),
        ids=lambda cloud, where, page: cloud.machine_ids(where, page),
        row=lambda cloud, machine_id: cloud.machine(machine_id),
        create=create,
        update=lambda cloud, machine_id, fields: cloud.update_machine(machine_id, cast(MachineChanges, fields)),
        delete=lambda cloud, machine_id: cloud.delete_machine(machine_id),
        add_links=add_links,
    )
    return kind


def link_kind(link: SentLink) -> CategoryId:
    """What an inline link is to be: its own category says so, else its relation, else where it leads."""
    by_relation = {
        names.NETWORK: names.NETWORK_INTERFACE,
        names.IP_RESERVATION: names.NETWORK_INTERFACE,
        names.STORAGE: names.STORAGE_LINK,
        names.SECURITY_GROUP: names.SECURITY_GROUP_LINK,
    }
    by_place = {
        network.LOCATION: names.NETWORK_INTERFACE,
        ipreservation.LOCATION: names.NETWORK_INTERFACE,
        "/storage/": names.STORAGE_LINK,
        securitygroup.LOCATION: names.SECURITY_GROUP_LINK,
    }
    for category in link.categories:
        if category in by_relation.values():
            return category
    for relation in link.relation:
        if relation in by_relation:
            return by_relation[relation]
    for place, category in by_place.items():
        if link.target.startswith(place):
            return category
    raise Invalid(
        f"The link to {link.target!r} is of no kind: expected a network, an IP reservation, a storage or a security"
        " group of this cloud."
    )

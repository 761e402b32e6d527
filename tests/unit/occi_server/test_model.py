"""What the model declares holds together, and is what the standards and their tools ask for."""

from __future__ import annotations

import dataclasses
import re

import pytest

from backends import model as rows
from backends.cloud import (
    AttachmentChanges,
    DiskChanges,
    InterfaceChanges,
    MachineChanges,
    NetworkChanges,
    ReservationChanges,
)
from backends.model import Size
from backends.states import DISK_ACTIONS, MACHINE_ACTIONS, NETWORK_ACTIONS
from backends.store.rows import ATTACHMENTS, DISKS, INTERFACES, MACHINES, NETWORKS, RESERVATIONS
from occi_server.model import Model, model_of
from occi_server.names import TEMPLATE_PROFILE
from occi_server.site import Site
from renderers.occi.representation import Kind, Mixin
from renderers.occi.text import render_categories

GIB = 2**30
SITE = Site(sizes=(Size("small", "Small", 1, 1024, 10 * GIB), Size("large", "Big", 8, 1024, GIB)))
DOOR = {
    "compute": (rows.NewMachine, MachineChanges, MACHINES),
    "network": (rows.NewNetwork, NetworkChanges, NETWORKS),
    "ipreservation": (rows.NewReservation, ReservationChanges, RESERVATIONS),
    "storage": (rows.NewDisk, DiskChanges, DISKS),
    "networkinterface": (rows.NewInterface, InterfaceChanges, INTERFACES),
    "storagelink": (rows.NewAttachment, AttachmentChanges, ATTACHMENTS),
}


@pytest.fixture
def model() -> Model:
    return model_of(SITE)


@pytest.mark.parametrize("kind", DOOR)
def test_every_attribute_goes_where_the_door_has_a_field(model: Model, kind: str) -> None:
    served = next(found for found in model.types if found.kind.id.term == kind)
    new, changes, table = DOOR[kind]
    creatable = {field.name for field in dataclasses.fields(new)} | {"machine_id"}

    for attribute in served.by_name.values():
        if attribute.field is None:
            continue
        if attribute.mutable or attribute.at_creation:
            assert attribute.field in creatable, attribute.name
        if attribute.mutable:
            assert attribute.field in changes.__annotations__, attribute.name
        if attribute.read is not None and attribute.field != "id":
            assert attribute.field in table.filters, attribute.name


def test_every_action_in_a_table_of_states_is_served(model: Model) -> None:
    tables = {"compute": MACHINE_ACTIONS, "network": NETWORK_ACTIONS, "storage": DISK_ACTIONS}
    for kind, table in tables.items():
        served = next(found for found in model.types if found.kind.id.term == kind)
        terms = {action.action.id.term for action in served.actions}
        assert terms == {term for offered in table.values() for term in offered}


def test_categories_are_unique_and_each_has_a_place_of_its_own(model: Model) -> None:
    identities = [category.id for category in model.categories]
    places = [c.location for c in model.categories if isinstance(c, Kind | Mixin) and c.location]

    assert len(set(identities)) == len(identities)
    assert len(set(places)) == len(places)
    assert all(re.fullmatch(r"(/[a-z0-9_-]+)+/", place) for place in places)


def test_discovery_uses_only_what_old_parsers_take(model: Model) -> None:
    for _, line in render_categories(model.categories):
        title = re.search(r'title="([^"]*)"', line)
        assert title is None or not set(title[1]) & {",", ";"}
        assert re.match(r'[a-z][a-z0-9_-]*; scheme="[^"]+[#]"; class="(kind|mixin|action)"', line)


def test_only_a_size_of_the_profile_carries_the_profiles_name(model: Model) -> None:
    assert model.templates.size_ids["small"].scheme == TEMPLATE_PROFILE
    assert model.templates.size_ids["large"].scheme == f"{SITE.scheme_prefix}resource_tpl#"


@pytest.mark.parametrize("prefix", ["http://schemas.ogf.org/occi/mine/", "https://schemas.ogf.org/"])
def test_a_provider_does_not_name_things_as_ogf_does(prefix: str) -> None:
    with pytest.raises(ValueError, match="scheme_prefix"):
        Site(scheme_prefix=prefix)

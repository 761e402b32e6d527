"""Access control lists: how they are read, inherited and evaluated."""

from __future__ import annotations

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.acl import (
    ALL_PERMS,
    ALLOW,
    DEFAULT_ACL,
    DENY,
    OWNERS_ACL,
    Ace,
    AceFlag,
    AceMask,
    Acl,
    allowed,
    as_own,
    inherited,
    is_inherited,
    parse_acl,
    passed_down,
    render_acl,
)
from backends.errors import Invalid
from backends.model import Caller, Role


def user(name: str, role: Role = Role.USER) -> Caller:
    return Caller(uuid4(), name, uuid4(), "project", role)


ACES = st.builds(
    Ace,
    st.sampled_from([0, 1, 2]),
    st.sampled_from(["OWNER@", "GROUP@", "EVERYONE@", "ANONYMOUS@", "ADMINISTRATOR@", "ann", "ben"]),
    st.integers(0, 0xCF).filter(lambda bits: not bits & 0x30).map(AceFlag),
    st.integers(0, 0x1F07FF).map(AceMask),
)
ACLS = st.lists(ACES, max_size=6).map(tuple)


@given(ACLS)
def test_a_list_is_read_as_it_was_written(acl: tuple[Ace, ...]) -> None:
    assert parse_acl(render_acl(acl)) == acl


def test_names_stand_for_bits() -> None:
    entry = {"acetype": "DENY", "identifier": "ann", "aceflags": "CDMI_ACE_FLAGS_OBJECT_INHERIT_ACE, 0x2",
             "acemask": "CDMI_ACE_RW_ALL, CDMI_ACE_DELETE"}  # fmt: skip
    assert parse_acl([entry]) == (Ace(DENY, "ann", AceFlag(0x3), AceMask(0x7006F)),)
    for name in entry:
        with pytest.raises(Invalid):
            parse_acl([{**entry, name: "nonsense" if name != "identifier" else ""}])


@pytest.mark.parametrize(
    ("acetype", "aceflags", "acemask"),
    [
        ("ALLOW", "OBJECT_INHERIT, CONTAINER_INHERIT", "ALL_PERMS"),
        ("CDMI_ACE_ACCESS_ALLOW", "CDMI_ACE_FLAGS_OBJECT_INHERIT_ACE, CDMI_ACE_FLAGS_CONTAINER_INHERIT_ACE",
         "0x1F07FF"),
        ("CDMI_ACE_ACCESS_ALLOWED_TYPE", "CDMI_ACE_OBJECT_INHERIT_ACE|CDMI_ACE_CONTAINER_INHERIT_ACE",
         "CDMI_ACE_ALL_PERMS"),
    ],
)  # fmt: skip
def test_a_list_is_written_as_the_tables_and_the_grammar_have_it(acetype: str, aceflags: str, acemask: str) -> None:
    entry = {"acetype": acetype, "identifier": "OWNER@", "aceflags": aceflags, "acemask": acemask}
    assert parse_acl([entry]) == (Ace(ALLOW, "OWNER@", AceFlag(0x3), ALL_PERMS),)


@pytest.mark.parametrize(
    ("name", "form", "constant", "bits"),
    [
        ("acetype", "DENY", "CDMI_ACE_ACCESS_DENY", 1),
        ("acetype", "AUDIT", "CDMI_ACE_SYSTEM_AUDIT", 2),
        ("acetype", "AUDIT", "CDMI_ACE_SYSTEM_AUDIT_TYPE", 2),
        ("aceflags", "NO_FLAGS", "CDMI_ACE_FLAGS_NONE", 0),
        ("aceflags", "NO_PROPAGATE", "CDMI_ACE_FLAGS_NO_PROPAGATE_ACE", 0x4),
        ("aceflags", "NO_PROPAGATE", "CDMI_ACE_NO_PROPAGATE_INHERIT_ACE", 0x4),
        ("aceflags", "IDENTIFIER_GROUP", "CDMI_ACE_FLAGS_IDENTIFIER_GROUP", 0x40),
        ("aceflags", "INHERITED", "CDMI_ACE_FLAGS_INHERITED_ACE", 0x80),
        ("acemask", "READ_ALL, WRITE_OBJECT", "CDMI_ACE_READ_ALL, CDMI_ACE_WRITE_OBJECT", 0xB),
        ("acemask", "RW_ALL, DELETE", "CDMI_ACE_RW_ALL, CDMI_ACE_DELETE", 0x7006F),
        ("acemask", "DELETE_SUBCONTAINER", "CDMI_ACE_DELETE_SUBCONTAINER", 0x40),
    ],
)
def test_a_string_form_is_its_constant(name: str, form: str, constant: str, bits: int) -> None:
    entry = {"acetype": "ALLOW", "identifier": "ann", "acemask": "0x0"}
    for written in (form, constant):
        assert render_acl(parse_acl([{**entry, name: written}]))[0][name] == f"{bits:#x}"


def test_the_first_entry_about_a_right_decides() -> None:
    acl = parse_acl(
        [
            {"acetype": "DENY", "identifier": "ann", "acemask": "0x2"},
            {"acetype": "ALLOW", "identifier": "EVERYONE@", "acemask": "0x3"},
            {"acetype": "DENY", "identifier": "EVERYONE@", "acemask": "0x1"},
        ]
    )
    assert allowed(acl, user("ann"), "ben") == AceMask(0x1)
    assert allowed(acl, user("ben"), "ben") == AceMask(0x3)
    assert allowed((), user("ann"), "ann") == 0


@given(ACLS, ACES)
def test_an_entry_at_the_end_never_takes_away(acl: tuple[Ace, ...], last: Ace) -> None:
    before = allowed(acl, user("ann"), "ann")
    assert allowed((*acl, last), user("ann"), "ann") & before == before


def test_what_is_passed_on_and_how_far() -> None:
    both = Ace(ALLOW, "ann", AceFlag(0x3), ALL_PERMS)
    objects = Ace(ALLOW, "ann", AceFlag.OBJECT_INHERIT, ALL_PERMS)
    assert inherited((both,), container=False)[0].flags == AceFlag.INHERITED
    assert inherited((both,), container=True)[0].flags == AceFlag(0x83)
    assert inherited((objects,), container=True)[0].flags == AceFlag(0x89)
    assert allowed(inherited((objects,), container=True), user("ann"), "") == 0
    here = [Ace(ALLOW, "ann", flags, ALL_PERMS) for flags in (AceFlag(0), AceFlag(0x3) | AceFlag.NO_PROPAGATE)]
    for container in (False, True):
        assert inherited(tuple(here), container=container) == OWNERS_ACL
        assert inherited((*here, objects), container=container) == inherited((objects,), container=container)


def test_a_project_shares_everything_unless_somebody_says_otherwise() -> None:
    acl = passed_down(DEFAULT_ACL, 2, container=False)
    assert allowed(acl, user("anybody"), "owner") == ALL_PERMS
    assert is_inherited(acl)
    assert not is_inherited(DEFAULT_ACL)
    assert not is_inherited(as_own(acl))


@given(st.lists(ACES, max_size=4).map(tuple), st.booleans(), st.integers(2, 5))
def test_what_is_passed_on_stays_the_same_from_the_second_level_on(acl: Acl, container: bool, levels: int) -> None:
    """What decides about a tree is looked up by so many levels."""
    assert passed_down(acl, levels, container=container) == passed_down(acl, 2, container=container)
    assert passed_down(acl, 1, container=container) == inherited(acl, container=container)
    assert passed_down(acl, 0, container=container) == acl

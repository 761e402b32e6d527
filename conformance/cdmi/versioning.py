"""Versions of data objects: what makes them, how they lead to each other, and that nothing changes them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from conformance.cdmi import access, feeds, retention
from conformance.cdmi.fields import Fields, base64_of, moment
from conformance.cdmi.serialization import serialized
from conformance.cdmi.server import CHANGED, GONE, REFUSED, Server, Thing, check
from conformance.suite import CheckFailed, Exchange, Level, NotApplicable, expect, require

CAPABILITY = "cdmi_versioning"
LEVELS = ("value", "user", "all")


def versioned(server: Server, level: str = "", value: str = "first", **items: Any) -> Thing:
    """A data object that is asked for versions of that level, or of the least that the server claims."""
    probe = server.new_object()
    server.needs(CAPABILITY, "cdmi_modify_value", of=probe.fields)
    claimed = server.capabilities_of(probe.fields)[CAPABILITY]
    if level and level not in claimed:
        raise NotApplicable(f"the server doesn't claim the level {level} of {CAPABILITY}")
    least = next((one for one in LEVELS if one in claimed), "")
    return server.new_object(value, metadata={CAPABILITY: level or least, **items})


def change(server: Server, made: Thing, value: str = "second") -> None:
    expect(server.update(made.url, "object", {"value": value}), CHANGED, "a new value for an object with versions")


def set_item(server: Server, made: Thing, name: str, items: Fields) -> None:
    expect(server.update(made.url, "object", {"metadata": items}, f"metadata:{name}"), CHANGED, f"a change of {name}")


def at(server: Server, uri: Any) -> Thing:
    """The version that a URI in metadata leads to."""
    require(isinstance(uri, str), f"the URI of a version is {uri!r}, expected a string")
    for url in server.resolved(uri):
        answer = server.get(url, "object")
        if answer.status == 200:
            return Thing(url, server.look(url, "object"))
    raise CheckFailed(f"{uri} leads to no version", answer)


def current(server: Server, made: Thing) -> Thing:
    return at(server, server.metadata(made.url).get("cdmi_version_current"))


def history(server: Server, made: Thing) -> list[Thing]:
    """The current version and those before it, by their parents."""
    found = [current(server, made)]
    while (parent := found[-1].fields["metadata"].get("cdmi_version_parent")) is not None:
        require(len(found) < 100, "the parents of a version don't end")
        found.append(at(server, parent))
    return found


def values(server: Server, made: Thing) -> list[Any]:
    return [version.fields.get("value") for version in history(server, made)]


def check_values(server: Server, made: Thing, expected: list[str], what: str) -> None:
    found = values(server, made)
    require(found == expected, f"the versions {what} have the values {found!r}, expected {expected!r}")


def two(server: Server, level: str = "") -> tuple[Thing, Thing, Thing]:
    """A data object, its current version and the one before."""
    made = versioned(server, level)
    change(server, made)
    check_values(server, made, ["second", "first"], "after an update")
    newer, older = history(server, made)
    return made, newer, older


def only_uri(metadata: Fields, name: str) -> Any:
    """Of an array, since updates that follow each other make one line of versions."""
    found = metadata.get(name)
    if not isinstance(found, list) or len(found) != 1:
        raise CheckFailed(f"{name} is {found!r}, expected one URI in an array")
    return found[0]


def same(server: Server, uri: Any, thing: Thing) -> bool:
    """Whether a URI in metadata leads to it."""
    return isinstance(uri, str) and at(server, uri).fields["objectID"] == thing.fields["objectID"]


@check("versioning/enabled", "23.2", "25.2", "A data object with versions names the current and the oldest of them.")
def enabled(server: Server) -> None:
    found = server.metadata(versioned(server).url)
    require(isinstance(found.get("cdmi_version_current"), str), "cdmi_version_current is missing")
    oldest = found.get("cdmi_version_oldest")
    require(isinstance(oldest, list) and oldest, f"cdmi_version_oldest is {oldest!r}, expected an array of URIs")
    require(oldest == [found["cdmi_version_current"]], "with one version the oldest is another than the current one")


@check("versioning/current", "23.1", "25.1", "The current version holds what its object holds, by an ID of its own.")
def current_version(server: Server) -> None:
    made = versioned(server)
    found = current(server, made).fields
    require(found["objectID"] != made.fields["objectID"], "the current version has its object's ID")
    require(found.get("value") == "first", f"its value is {found.get('value')!r}, expected its object's")
    require(found["mimetype"] == made.fields["mimetype"], f"its mimetype is {found['mimetype']!r}")


@check("versioning/update", "23.1", "25.1", "An update makes a new current version; the old one stays as it was.")
def update(server: Server) -> None:
    made = versioned(server)
    old = current(server, made)
    change(server, made)
    new = current(server, made)
    require(new.fields["objectID"] != old.fields["objectID"], "the current version is the same after an update")
    require(new.fields.get("value") == "second", f"the value of the new one is {new.fields.get('value')!r}")
    require(server.look(old.url, "object").get("value") == "first", "the value of the old one has changed")


@check("versioning/object", "23.2", "25.2", "Each version names its object and the current version.")
def names_object(server: Server) -> None:
    made, newer, older = two(server)
    for version in (newer, older):
        found = version.fields["metadata"]
        require(same(server, found.get("cdmi_version_object"), made), "cdmi_version_object leads elsewhere")
        require(same(server, found.get("cdmi_version_current"), newer), "cdmi_version_current leads elsewhere")


@check("versioning/parent", "23.2", "25.2", "A version names the one before it as its parent; the oldest has none.")
def parent(server: Server) -> None:
    _, newer, older = two(server)
    require(same(server, newer.fields["metadata"].get("cdmi_version_parent"), older), "the parent is another")
    require("cdmi_version_parent" not in older.fields["metadata"], "the oldest version has a parent")


@check("versioning/children", "23.2", "25.2", "A historical version names those that updates made of it.")
def children(server: Server) -> None:
    _, newer, older = two(server)
    found = only_uri(older.fields["metadata"], "cdmi_version_children")
    require(same(server, found, newer), "cdmi_version_children leads elsewhere")


@check("versioning/children-of-current", "23.2", "", "The current version has an empty list of children.")
def no_children(server: Server) -> None:
    found = current(server, versioned(server)).fields["metadata"].get("cdmi_version_children")
    require(found == [], f"cdmi_version_children of the current version is {found!r}, expected []")


@check("versioning/oldest", "23.2", "25.2", "The oldest version is that at the end of all parents.")
def oldest(server: Server) -> None:
    made, newer, older = two(server)
    for fields in (server.look(made.url, "object"), newer.fields):
        found = only_uri(fields["metadata"], "cdmi_version_oldest")
        require(same(server, found, older), "cdmi_version_oldest leads elsewhere")


@check("versioning/not-asked", "16.4", "16.3", "cdmi_versioning isn't among the metadata of a version.")
def not_asked(server: Server) -> None:
    for version in two(server)[1:]:
        require(CAPABILITY not in version.fields["metadata"], f"a version has {CAPABILITY}")


@check(
    "versioning/capabilities",
    "23.4",
    "25.4",
    "Versions have capabilities of their own, dataobject/dataobject_version/.",
    Level.SHOULD,
)
def capabilities(server: Server) -> None:
    uri = str(current(server, versioned(server)).fields.get("capabilitiesURI"))
    require(uri.endswith("/dataobject/dataobject_version/"), f"capabilitiesURI is {uri!r}")
    expect(server.follow(uri, "capability"), {200}, "the capabilities of versions")


@check("versioning/unchangeable", "23.7", "25.7", "A version can't be changed: 403.")
def unchangeable(server: Server) -> None:
    for version in two(server)[1:]:
        expect(server.update(version.url, "object", {"value": "changed"}), {403}, "a new value for a version")
        expect(server.update(version.url, "object", {"metadata": {"a": "b"}}), {403}, "new metadata for a version")
        found = server.look(version.url, "object").get("value")
        require(found == version.fields["value"], f"its value is {found!r} after a refused change")


@check("versioning/unchangeable-http", "23.7", "25.7", "Nor by plain HTTP.")
def unchangeable_http(server: Server) -> None:
    for version in two(server)[1:]:
        answer = server.http("PUT", version.url, body=b"changed", content_type="text/plain")
        expect(answer, {403}, "a plain PUT on a version")


@check("versioning/copy-over", "23.7", "25.7", "Nothing can be copied over a version: 403.")
def copy_over(server: Server) -> None:
    server.needs("cdmi_copy_dataobject")
    _, _, older = two(server)
    other = server.new_object("another")
    answer = server.update(older.url, "object", {"copy": server.path_of(other.url)})
    expect(answer, {403}, "a copy over a version")


@check("versioning/move", "23.7", "25.7", "A version can't be moved: 403.")
def move(server: Server) -> None:
    server.needs("cdmi_move_dataobject")
    _, _, older = two(server)
    answer = server.put(server.new_url(".txt"), "object", {"move": server.path_of(older.url)})
    expect(answer, {403}, "a move of a version")


@check("versioning/level-value", "23.5", "25.5", "With value, a change of user metadata makes no version.")
def level_value(server: Server) -> None:
    made = versioned(server, "value")
    set_item(server, made, "colour", {"colour": "red"})
    check_values(server, made, ["first"], "after a change of metadata")


@check("versioning/level-user", "23.5", "25.5", "With user, it makes one, which has the metadata.")
def level_user(server: Server) -> None:
    made = versioned(server, "user")
    set_item(server, made, "colour", {"colour": "red"})
    check_values(server, made, ["first", "first"], "after a change of metadata")
    newer, older = history(server, made)
    require(newer.fields["metadata"].get("colour") == "red", "the new version lacks the metadata")
    require("colour" not in older.fields["metadata"], "the old version has the new metadata")


@check("versioning/level-mimetype", "23.5", "25.5", "A change of the mimetype makes a version, whatever the level.")
def level_mimetype(server: Server) -> None:
    made = versioned(server)
    expect(server.update(made.url, "object", {"mimetype": "text/html"}), CHANGED, "a new mimetype")
    newer, older = history(server, made)[:2]
    found = (newer.fields["mimetype"], older.fields["mimetype"])
    require(found == ("text/html", "text/plain"), f"the mimetypes of the versions are {found!r}")


@check("versioning/level-all", "23.5, 23.6", "25.5, 25.6", "With all, every update makes one; a move is an update.")
def level_all(server: Server) -> None:
    server.needs("cdmi_move_dataobject")
    made = versioned(server, "all")
    moved = server.make("object", {"move": server.path_of(made.url)}, server.new_url(".txt"))
    check_values(server, moved, ["first", "first"], "after a move")


@check("versioning/partial", "23.5", "25.5", "What is written in parts makes a version when it is complete.")
def partial(server: Server) -> None:
    made = versioned(server)
    old = current(server, made)
    sent = [("X-CDMI-Partial", "true")]
    for value in ("part", "more"):
        answer = server.update(made.url, "object", {"value": value}, headers=sent)
        expect(answer, CHANGED, "a part of an update")
    told = server.look_at(made.url)["metadata"].get("cdmi_version_current")
    require(same(server, told, old), "there is a new version before the update is complete")
    change(server, made)
    check_values(server, made, ["second", "first"], "after an update in parts")


@check("versioning/restore", "23.7", "25.7", "A version copied onto its object becomes what the object holds.")
def restore(server: Server) -> None:
    server.needs("cdmi_copy_dataobject")
    made, _, older = two(server)
    answer = server.update(made.url, "object", {"copy": server.path_of(older.url)})
    expect(answer, {202, 204}, "a copy of a version onto its object")
    found = server.settled(made.url, "object")
    require(found["value"] == "first", f"the value is {found['value']!r}, expected that of the version")
    require(found["objectID"] == made.fields["objectID"], "the object has another ID")
    check_values(server, made, ["first", "second", "first"], "after a version was restored")


@check("versioning/copy", "23.6", "25.6", "A copy of an object has none of its versions.")
def copied(server: Server) -> None:
    server.needs("cdmi_copy_dataobject")
    made, *versions = two(server)
    copy = server.make("object", {"copy": server.path_of(made.url)}, server.new_url(".txt"))
    uri = server.metadata(copy.url).get("cdmi_version_current")
    if uri is None:
        return
    identities = {version.fields["objectID"] for version in versions}
    found = {version.fields["objectID"] for version in history(server, copy)}
    require(not identities & found, "the copy has versions of its source")
    require(len(found) == 1, f"the copy has {len(found)} versions, expected its own first at most")


@check("versioning/copy-version", "23.7", "25.7", "A version can be copied to a new object.")
def copy_version(server: Server) -> None:
    server.needs("cdmi_copy_dataobject")
    _, _, older = two(server)
    copy = server.make("object", {"copy": server.path_of(older.url)}, server.new_url(".txt"))
    found = server.look(copy.url, "object")["value"]
    require(found == "first", f"the value of the copy is {found!r}, expected that of the version")


@check("versioning/delete-object", "23.6", "25.6", "With an object go its versions.")
def delete_object(server: Server) -> None:
    made, *versions = two(server)
    server.needs("cdmi_delete_dataobject", of=made.fields)
    expect(server.delete(made.url), CHANGED, "DELETE of an object with versions")
    for version in versions:
        expect(server.get(version.url, "object"), GONE, "a version of a deleted object")


def deletable(server: Server, version: Thing) -> None:
    server.needs("cdmi_delete_dataobject", of=version.fields)


@check("versioning/delete", "23.7", "25.7", "A historical version can be deleted; its neighbours become neighbours.")
def delete(server: Server) -> None:
    made, _, _ = two(server)
    change(server, made, "third")
    check_values(server, made, ["third", "second", "first"], "after two updates")
    newest, middle, oldest = history(server, made)
    deletable(server, middle)
    expect(server.delete(middle.url), CHANGED, "DELETE of a historical version")
    expect(server.get(middle.url, "object"), GONE, "a deleted version")
    check_values(server, made, ["third", "first"], "without the middle one")
    found = only_uri(server.metadata(oldest.url), "cdmi_version_children")
    require(same(server, found, newest), "the child of the oldest is another than the newest")


@check("versioning/delete-current", "23.7", "25.7", "Without the current version its parent is the current one.")
def delete_current(server: Server) -> None:
    made, newer, older = two(server)
    deletable(server, newer)
    expect(server.delete(newer.url), CHANGED, "DELETE of the current version")
    found = current(server, made).fields["objectID"]
    require(found == older.fields["objectID"], "the current version is another than the parent of the deleted one")
    value = server.look(made.url, "object")["value"]
    require(value == "first", f"the value of the object is {value!r}, expected that of its current version")


@check("versioning/delete-only", "23.7", "25.7", "A current version without a parent can't be deleted: 403.")
def delete_only(server: Server) -> None:
    only = current(server, versioned(server))
    deletable(server, only)
    expect(server.delete(only.url), {403}, "DELETE of the only version")


@check("versioning/disabled", "23.6", "25.6", "When versioning ends the versions, and what leads to them, stay.")
def disabled(server: Server) -> None:
    made, newer, older = two(server)
    server.needs("cdmi_modify_metadata", of=made.fields)
    set_item(server, made, CAPABILITY, {})
    change(server, made, "third")
    found = [version.fields["objectID"] for version in history(server, made)]
    expected = [version.fields["objectID"] for version in (newer, older)]
    require(found == expected, "the versions are others after versioning has ended")


@check("versioning/enabled-again", "23.6", "25.6", "When it begins again there is a new current version.")
def enabled_again(server: Server) -> None:
    made, newer, _ = two(server)
    server.needs("cdmi_modify_metadata", of=made.fields)
    level = server.metadata(made.url)[CAPABILITY]
    set_item(server, made, CAPABILITY, {})
    set_item(server, made, CAPABILITY, {CAPABILITY: level})
    check_values(server, made, ["second", "second", "first"], "after versioning has begun again")
    require(current(server, made).fields["objectID"] != newer.fields["objectID"], "the current version is the old one")


@check("versioning/retention", "23.6", "25.6", "The versions of an object under retention can't be deleted: 403.")
def retained(server: Server) -> None:
    seconds = retention.FIRST_SECONDS
    while True:
        made, _, older = two(server)
        server.needs(retention.CAPABILITY, "cdmi_modify_metadata", of=made.fields)
        deletable(server, older)
        interval = retention.period(seconds)
        retention.set_retention(server, made, interval, CHANGED)
        answer: Exchange = server.delete(older.url)
        if datetime.now(UTC) < moment(interval.partition("/")[2]) or answer.status == 403:
            expect(answer, {403}, "DELETE of a version of an object under retention")
            return
        require(seconds < retention.LONGEST_SECONDS, f"the server needs longer than {seconds:g} s for an answer")
        seconds *= 4


@check("versioning/acl", "23.5", "25.5", "The access list of the object is that of its versions.")
def acl(server: Server) -> None:
    server.needs_system("cdmi_security_access_control")
    made, *versions = two(server)
    server.needs("cdmi_acl", "cdmi_modify_metadata", of=made.fields)
    access.guard(server, made, access.without(access.READ_OBJECT))
    for version in versions:
        expect(server.http("GET", version.url), {403}, "a version of an object that may not be read")


@check(
    "versioning/count",
    "16.4",
    "16.3",
    "No more historical versions stay than cdmi_versions_count says; the oldest go first.",
    Level.SHOULD,
)
def count(server: Server) -> None:
    made = versioned(server, cdmi_versions_count="1")
    server.needs("cdmi_versions_count", of=made.fields)
    for value in ("second", "third"):
        change(server, made, value)
    check_values(server, made, ["third", "second"], "of which one may be historical")


@check("versioning/query", "23.8", "25.8", "Queries find versions too.")
def query(server: Server) -> None:
    server.needs_system("cdmi_queues", "cdmi_query")
    made = versioned(server, watched="yes")
    change(server, made)
    wanted = {version.fields["objectID"] for version in history(server, made)}
    scope = [{"metadata": {"watched": "== yes", "cdmi_version_children": "*"}}]
    queue = feeds.feed(server, "query", cdmi_scope_specification=scope)
    server.wait_until(
        lambda: {value.get("objectID") for value in feeds.values_of(server, queue)} == wanted,
        "the versions of an object, and nothing else, in a query queue",
    )


@check("versioning/notified", "23.6", "25.6", "A new version is told of as created.")
def notified(server: Server) -> None:
    server.needs_system("cdmi_queues", "cdmi_notification")
    made = versioned(server, watched="yes")
    queue = feeds.feed(server, "notification")
    change(server, made)
    feeds.wait_for(server, queue, current(server, made), "cdmi_create_complete")


@check("versioning/serialize", "23.9", "25.9", "A serialized object has its versions, as an array, for its value.")
def serialize(server: Server) -> None:
    made, newer, older = two(server)
    _, found = serialized(server, made, "dataobject")
    value = found.get("value")
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise CheckFailed(f"the value is {value!r}, expected an array of objects")
    identities = [one.get("objectID") for one in value]
    expected = {version.fields["objectID"] for version in (newer, older)}
    require(set(identities) == expected, f"the array has the objects {identities!r}, expected {sorted(expected)!r}")
    require([one.get("value") for one in value] in (["second", "first"], ["first", "second"]), "values are others")


@check("versioning/deserialize", "23.9", "25.9", "Deserialization gives back the object with its versions.")
def deserialize(server: Server) -> None:
    server.needs("cdmi_deserialize_dataobject")
    made, newer, older = two(server)
    saved, _ = serialized(server, made, "dataobject")
    server.needs("cdmi_delete_dataobject", of=made.fields)
    expect(server.delete(made.url), CHANGED, "DELETE of the source")
    back = server.make("object", {"deserialize": server.path_of(saved.url)}, server.new_url(".txt"))
    require(server.look(back.url, "object")["value"] == "second", "the value is another")
    found = [version.fields["objectID"] for version in history(server, back)]
    expected = [version.fields["objectID"] for version in (newer, older)]
    require(found == expected, f"the versions are {found!r}, expected {expected!r}")


@check("versioning/serialize-alone", "23.9", "25.9", "A version can't be serialized without its object, nor come back.")
def serialize_alone(server: Server) -> None:
    server.needs_system("cdmi_serialization_json")
    server.needs("cdmi_serialize_dataobject", "cdmi_deserialize_dataobject")
    made, _, older = two(server)
    answer = server.put(server.new_url(".json"), "object", {"serialize": server.path_of(older.url)})
    expect(answer, REFUSED, "a version to be serialized")
    _, found = serialized(server, made, "dataobject")
    one = next(one for one in found["value"] if one["objectID"] == older.fields["objectID"])
    sent = {"deserializevalue": base64_of(json.dumps(one).encode())}
    expect(server.put(server.new_url(".txt"), "object", sent), REFUSED, "a version to be deserialized")

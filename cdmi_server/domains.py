"""/cdmi_domains/ (1.1.1 §10): the project as a domain, with what it has, may have, and who is in it. Read only.

The administrator makes projects, their users and limits; nobody sees another project's domain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import falcon
import orjson

from backends.errors import Invalid, NotFound
from backends.model import Caller
from backends.objects import COMPLETE
from cdmi_server.call import Call
from cdmi_server.capabilities import SYSTEM, Claim, claims, uri_of_capabilities
from cdmi_server.negotiation import ROOTS, Profile, accepted, answer_profile, check_acceptable
from cdmi_server.paths import DOMAINS, domain_uri, escaped
from renderers.cdmi import html, json, ranges
from renderers.cdmi.objectid import encode
from renderers.cdmi.representation import CONTAINER, DATAOBJECT, DOMAIN, format_time

SUMMARY, CUMULATIVE, MEMBERS = "cdmi_domain_summary", "cumulative", "cdmi_domain_members"
USE = "altostratus_use"
"""The summary's item of our own: by resource what the domain has and may have; those of the standard need a history."""
CLAIMS = (
    *claims(SYSTEM, "cdmi_domains"),
    *claims("domain", "cdmi_list_children", "cdmi_read_metadata", "cdmi_domain_summary"),
    Claim("cdmi_authentication_methods", ("domain",), ["basic"]),
    *claims("container/domain", "cdmi_list_children", "cdmi_list_children_range", "cdmi_read_metadata"),
    *claims("dataobject/domain", "cdmi_read_value", "cdmi_read_value_range", "cdmi_read_metadata", "cdmi_size"),
)


@dataclass(frozen=True, slots=True)
class Node:
    """Something below `cdmi_domains/`: `children` of a container or domain, else `value` of a data object."""

    names: tuple[str, ...]
    media_type: str
    children: Sequence[str] = ()
    value: bytes = b""


def names_of(call: Call) -> tuple[str, ...] | None:
    """The names below `cdmi_domains`, where the request is about it; by an ID as well as by a path."""
    start = call.place.address.start
    if start is None or start.version != 5:
        return call.place.domains
    domain = (call.cloud.caller.project_name,)
    ways: list[tuple[str, ...]] = [(), domain, (*domain, SUMMARY), (*domain, SUMMARY, CUMULATIVE), (*domain, MEMBERS)]
    ways += [(*domain, MEMBERS, name) for name in call.cloud.members()]
    for way in ways:
        if _identity(call, way) == start:
            return (*way, *call.place.address.names)
    return None


def answer(call: Call, names: tuple[str, ...]) -> None:
    if call.request.method not in ("GET", "HEAD"):
        raise Invalid("domains can't be made or changed here: projects, their users and limits are the administrator's")
    is_cdmi = answer_profile(call.request, call.version) is Profile.CDMI
    if is_cdmi:
        call.check_version()
    node = _node(call, names)
    by_id = call.place.address.start is not None and not call.place.address.names
    if not by_id and call.place.slash and node.media_type == DATAOBJECT:
        raise NotFound(f"there is no container {names[-1]!r}")
    if not by_id and not call.place.slash and node.media_type != DATAOBJECT:
        raise falcon.HTTPMovedPermanently(call.request.prefix + escaped(_uri(call, node)))
    if not is_cdmi:
        _plain(call, node)
        return
    check_acceptable(call.request, node.media_type)
    fields = _fields(call, node)
    call.answer_json(node.media_type, {name: value for name, value in fields.items() if name in call.selection})


def _node(call: Call, names: tuple[str, ...]) -> Node:
    """`NotFound` for another project's as for what doesn't exist."""
    match names:
        case ():
            return Node(names, CONTAINER, (f"{call.cloud.caller.project_name}/",))
        case (domain, *rest) if domain == call.cloud.caller.project_name:
            match rest:
                case []:
                    return Node(names, DOMAIN, (f"{SUMMARY}/", f"{MEMBERS}/"))
                case [folder] if folder == SUMMARY:
                    return Node(names, CONTAINER, (CUMULATIVE,))
                case [folder, name] if (folder, name) == (SUMMARY, CUMULATIVE):
                    return Node(names, DATAOBJECT, value=orjson.dumps(_summary(call)))
                case [folder] if folder == MEMBERS:
                    return Node(names, CONTAINER, call.cloud.members())
                case [folder, name] if folder == MEMBERS and name in call.cloud.members():
                    return Node(names, DATAOBJECT, value=orjson.dumps(_member(call, name)))
    raise NotFound(f"there is no {'/'.join((DOMAINS, *names))[:300]!r}")


def _summary(call: Call) -> Mapping[str, Any]:
    """Mandatory items (1.1.1 §10.1.5), and what there is now."""
    return {
        "cdmi_domainURI": domain_uri(call.version, call.cloud.caller.project_name),
        "cdmi_summary_start": format_time(call.cloud.project_made_at()),
        "cdmi_summary_end": format_time(datetime.now(UTC)),
        USE: {
            each.resource.name: {"used": str(each.used), **({} if each.most is None else {"limit": str(each.most)})}
            for each in call.cloud.use()
        },
    }


def _member(call: Call, name: str) -> Mapping[str, Any]:
    return {
        "cdmi_member_enabled": "true",
        "cdmi_member_type": "user",
        "cdmi_member_name": name,
        "cdmi_member_principal": name,
        "cdmi_member_privileges": [],
        "cdmi_member_groups": [call.cloud.caller.project_name],
    }


def _fields(call: Call, node: Node) -> dict[str, Any]:
    project = call.cloud.caller.project_name
    above = node.names[:-1]
    slash = "" if node.media_type == DATAOBJECT else "/"
    root_id = encode(call.cloud.caller.project_id, call.site.enterprise_number)
    kind = {CONTAINER: "container/domain", DATAOBJECT: "dataobject/domain", DOMAIN: "domain"}[node.media_type]
    fields: dict[str, Any] = {
        "objectType": node.media_type,
        "objectID": encode(_identity(call, node.names), call.site.enterprise_number),
        "objectName": (node.names[-1] if node.names else DOMAINS) + slash,
        "parentURI": "/".join((ROOTS[call.version] + DOMAINS, *above, "")) if node.names else ROOTS[call.version],
        "parentID": encode(_identity(call, above), call.site.enterprise_number) if node.names else root_id,
        "domainURI": domain_uri(call.version, project),
        "capabilitiesURI": uri_of_capabilities(call.version, kind),
    }
    if node.media_type != DOMAIN:
        fields |= {"completionStatus": COMPLETE, "percentComplete": "100"}
    fields["metadata"] = _metadata(call, node)
    return fields | (_value_fields(call, node) if node.media_type == DATAOBJECT else _children_fields(call, node))


def _metadata(call: Call, node: Node) -> dict[str, Any]:
    items: dict[str, Any] = {"cdmi_owner": call.cloud.caller.project_name}
    if node.media_type == DOMAIN:
        items |= {"cdmi_domain_enabled": "true", "cdmi_authentication_methods_provided": ["basic"]}
    if node.media_type == DATAOBJECT:
        items["cdmi_size"] = str(len(node.value))
    prefixes = call.selection.parts_of("metadata")
    return {name: value for name, value in items.items() if prefixes is None or name.startswith(prefixes)}


def _children_fields(call: Call, node: Node) -> dict[str, Any]:
    asked = call.selection.range_of("children")
    part = asked.within(len(node.children)) if asked else None
    if asked is None:
        return {"childrenrange": ranges.whole(len(node.children)), "children": list(node.children)}
    shown = list(node.children[part.first : part.last + 1]) if part else []
    return {"childrenrange": str(part) if part else "", "children": shown}


def _value_fields(call: Call, node: Node) -> dict[str, Any]:
    asked = call.selection.range_of("value")
    fields = {"mimetype": "application/json", "valuerange": ranges.whole(len(node.value))}
    if asked is None:
        return {**fields, "valuetransferencoding": "utf-8", "value": node.value.decode()}
    part = asked.within(len(node.value))
    value = node.value[part.first : part.last + 1] if part else b""
    fields["valuerange"] = str(part) if part else ""
    return {**fields, "valuetransferencoding": "base64", "value": json.encode_base64(value)}


def _plain(call: Call, node: Node) -> None:
    """A value as it is; children as a page for browsers, else a name a line."""
    if node.media_type == DATAOBJECT:
        call.response.content_type = "application/json"
        call.response.data = node.value
    elif "text/html" in accepted(call.request):
        rows = [html.Row(name, "./" + escaped(name), "domain", None, "", "") for name in node.children]
        crumbs = [html.Crumb(ROOTS[call.version], ROOTS[call.version])]
        for depth in range(len(node.names) + 1):
            url = "/".join((ROOTS[call.version] + DOMAINS, *node.names[:depth], ""))
            crumbs.append(html.Crumb((node.names[depth - 1] if depth else DOMAINS) + "/", escaped(url)))
        call.response.content_type = "text/html; charset=utf-8"
        call.response.text = html.render_container(crumbs, rows, len(rows), None)
    else:
        call.response.content_type = "text/plain; charset=utf-8"
        call.response.data = "".join(f"{name}\n" for name in node.children).encode()


def _identity(call: Call, names: tuple[str, ...]) -> UUID:
    return _identity_for(call.cloud.caller, names)


def identity_of_domain(caller: Caller) -> UUID:
    return _identity_for(caller, (caller.project_name,))


def _identity_for(caller: Caller, names: tuple[str, ...]) -> UUID:
    """Nothing is stored of these objects: their IDs follow from the project's."""
    return uuid5(caller.project_id, "/".join((DOMAINS, *names)))


def _uri(call: Call, node: Node) -> str:
    return "/".join((ROOTS[call.version] + DOMAINS, *node.names, ""))

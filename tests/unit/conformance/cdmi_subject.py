"""A small CDMI server in memory, 1.1.1 at / and 2.0 at /cdmi/2.0.0/: healthy unless a fault is put between.

It keeps the standard's letter as far as the suite looks and serves nothing else.
"""

from __future__ import annotations

import base64
import json
import re
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from backends import scope
from tests.unit.conformance.cdmi_store import (
    DELETE,
    READ_METADATA,
    READ_OBJECT,
    RESERVED,
    VERSIONING,
    VERSIONS_COUNT,
    WRITE_METADATA,
    WRITE_OBJECT,
    Node,
    Store,
    decoded,
    encoded,
)
from tests.unit.conformance.http_subject import PASSWORD, USER, Answer, HttpSubject, Refusal, Request

VERSION = "X-CDMI-Specification-Version"
VERSIONS = ("1.1", "1.1.1")
ROOT_2 = "/cdmi/2.0.0/"
TYPE = re.compile(r"application/cdmi-(object|container|queue|domain|capability)(?:\+json)?")
SOURCES = ("value", "copy", "move", "reference", "serialize", "deserialize", "deserializevalue")
KNOWN = {*SOURCES, "metadata", "mimetype", "valuetransferencoding", "domainURI", "exports", "snapshot"}
CHILD_RANGES = {"container": ("list_children_range",)}
CHALLENGE = (("WWW-Authenticate", 'Basic realm="subject"'),)
TYPES = {"Network/iSCSI": "iSCSI", "OCCI/iSCSI": "OCCI/iSCSI"}
"""Of exports in 2.0, by their names in 1.x."""
PERMITTED = {"Network/iSCSI": r"(iqn|naa|eui)\.\S+", "OCCI/iSCSI": r"http://\S+/compute/\d+/"}
Query = list[tuple[str, str | None]]


class Asked:
    """A request understood: version, path, query, what it sends and wants."""

    def __init__(self, request: Request) -> None:
        self.request = request
        split = urlsplit(request.target)
        self.is_2 = split.path.startswith(ROOT_2)
        self.root = ROOT_2 if self.is_2 else "/"
        self.path = split.path[len(self.root) :]
        between, of = ("&", "=") if self.is_2 else (";", ":")
        self.query: Query = []
        for part in filter(None, split.query.split(between)):
            name, colon, argument = part.partition(of)
            self.query.append((unquote(name), unquote(argument) if colon else None))
        self.accept = request.header("accept")
        self.sent = request.header("content-type")
        found = TYPE.fullmatch(self.sent.split(";")[0].strip().lower())
        self.kind = found.group(1) if found else ""
        self.is_mixed = self.sent.lower().startswith("multipart/mixed")
        wants_cdmi = bool(TYPE.search(self.accept)) or "multipart/mixed" in self.accept
        self.is_cdmi = bool(self.kind or self.is_mixed or wants_cdmi or request.header(VERSION.lower()))
        self.partial = request.header("x-cdmi-partial") == "true"
        self.version = ""

    def argument(self, name: str) -> str | None:
        return next((argument for key, argument in self.query if key == name), None)

    def has(self, name: str) -> bool:
        return any(key == name for key, _ in self.query)

    def items(self) -> list[str] | None:
        found = [argument for key, argument in self.query if key == "metadata" and argument is not None]
        return found or None

    def document(self) -> dict[str, Any]:
        body = self.request.body
        if self.is_mixed:
            body = payload(self.parts()[0])
        try:
            found = json.loads(body or b"{}")
        except ValueError as error:
            raise Refusal(400, "not JSON") from error
        if not isinstance(found, dict):
            raise Refusal(400, "no JSON object")
        return found

    def parts(self) -> list[EmailMessage]:
        head = f"Content-Type: {self.sent}\r\n\r\n".encode()
        message = BytesParser(EmailMessage, policy=HTTP).parsebytes(head + self.request.body)
        found = [part for part in message.iter_parts() if isinstance(part, EmailMessage)]
        if "boundary=" not in self.sent or len(found) < 2:
            raise Refusal(400, "no parts")
        return found


def payload(part: EmailMessage) -> bytes:
    found = part.get_payload(decode=True)
    return found if isinstance(found, bytes) else b""


def span(text: str, count: int, empty: int = 400) -> tuple[int, int]:
    """The first and last of "2-5", cut at the end of `count`."""
    match = re.fullmatch(r"(\d+)-(\d+)", text)
    if not match or int(match.group(1)) > int(match.group(2)):
        raise Refusal(400, f"no range: {text}")
    first, last = int(match.group(1)), min(int(match.group(2)), count - 1)
    if first >= count:
        raise Refusal(empty, "beyond the end")
    return first, last


class Cloud(Store):
    """What the subject answers."""

    def __init__(self) -> None:
        super().__init__()
        self.base = ""

    # -- dispatch --------------------------------------------------------------------------------

    def answer(self, request: Request) -> Answer:
        wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if request.header("authorization") != wanted:
            return Answer(401, CHALLENGE)
        asked = Asked(request)
        try:
            asked.version = self.negotiate(asked)
            found = self.route(asked)
        except Refusal as refusal:
            found = Answer(refusal.status, (("Content-Type", "text/plain"),), str(refusal).encode())
        if asked.version:
            found = Answer(found.status, (*found.headers, (VERSION, asked.version)), found.body)
        return found

    def negotiate(self, asked: Asked) -> str:
        if asked.is_2:
            return ""
        listed = [one.strip() for one in asked.request.header(VERSION.lower()).split(",") if one.strip()]
        if not listed:
            if TYPE.search(asked.accept) or asked.kind:
                raise Refusal(400, f"{VERSION} is missing")
            return ""
        common = [one for one in VERSIONS if one in listed]
        if not common:
            raise Refusal(400, "no version in common")
        return common[-1]

    def route(self, asked: Asked) -> Answer:  # noqa: C901
        method = asked.request.method
        if method == "POST" and unquote(asked.path) == "cdmi_objectid/":
            return self.post_by_id(asked)
        parent, name, node = self.find(asked)
        slash = asked.path.endswith("/") or not asked.path
        if node is not None and node.is_container and not slash and method not in ("PUT", "PATCH"):
            return self.moved(asked)
        if node is not None and node.is_container and not slash and not (method == "PUT" and asked.kind == "container"):
            return self.moved(asked)
        if node is not None and node.kind == "capability" and method not in ("GET", "HEAD"):
            raise Refusal(400, "capabilities are the server's")
        if node is not None and node.reference and method not in ("DELETE",):
            return Answer(302, (("Location", node.reference),))
        if method in ("GET", "HEAD"):
            if node is None:
                raise Refusal(404, "not here")
            return self.get(asked, node)
        if method == "DELETE":
            if node is None:
                raise Refusal(404, "not here")
            return self.delete(asked, node)
        if method == "POST":
            return self.post(asked, node)
        if method == "PATCH" and not asked.is_2:
            raise Refusal(405, "PATCH is of 2.0")
        if method == "PATCH" and node is None:
            raise Refusal(404, "not here")
        if method in ("PUT", "PATCH"):
            if node is not None:
                was = node.metadata.get(VERSIONING)
                answer = self.update(asked, node)
                self.keep(asked, node, is_new=not was)
                return answer
            return self.create(asked, parent, name, slash)
        raise Refusal(405, "no such method")

    def moved(self, asked: Asked) -> Answer:
        path, question, query = asked.request.target.partition("?")
        return Answer(301, (("Location", f"{self.base}{path}/{question}{query}"),))

    def find(self, asked: Asked) -> tuple[Node | None, str, Node | None]:
        return self.walk([unquote(part) for part in asked.path.split("/") if part])

    def walk(self, parts: list[str]) -> tuple[Node | None, str, Node | None]:
        """The parent, the last name, and the node there if there is one."""
        node: Node = self.root
        if parts[:1] == ["cdmi_objectid"] and len(parts) > 1:
            self.need(None, "object_access_by_ID")
            found = self.by_id.get(parts[1].upper())
            if found is None:
                raise Refusal(404, "no such ID")
            node, parts = found, parts[2:]
        for index, name in enumerate(parts):
            last = index == len(parts) - 1
            child = self.child(node, name)
            if last:
                return node, name, child
            if child is None:
                raise Refusal(404, "no such container")
            node = child
        return node.parent, node.name, node

    def child(self, node: Node, name: str) -> Node | None:
        if node is self.root and name == "cdmi_capabilities":
            return self.top
        if node is self.root and name == "cdmi_domains" and self.claim(None, "domains"):
            return self.domains
        if name == "cdmi_snapshots" and node.snapshots:
            return Node("container", "", name, node, children=node.snapshots)
        if not node.is_container:
            raise Refusal(404, f"{node.name} is no container")
        return node.children.get(name)

    def uri(self, node: Node, root: str) -> str:
        if node.parent is None:
            return root
        name = quote(node.name) + ("/" if node.is_container else "")
        if node.parent.snapshots.get(node.name) is node:
            name = "cdmi_snapshots/" + name
        return self.uri(node.parent, root) + name

    def names_in(self, path: str) -> list[str]:
        """In JSON nothing is escaped."""
        return [part for part in path.split("/") if part]

    def at(self, uri: Any, asked: Asked) -> tuple[Node, str]:
        """The node that a URI in a body leads to, and its query."""
        if not isinstance(uri, str):
            raise Refusal(400, "no URI")
        split = urlsplit(uri)
        path = split.path.removeprefix(asked.root) if split.path.startswith(asked.root) else split.path
        try:
            node = self.walk(self.names_in(path))[2]
        except Refusal:
            node = None
        if node is None:
            raise Refusal(400, "no such source")
        return node, split.query

    # -- reading ---------------------------------------------------------------------------------

    def get(self, asked: Asked, node: Node) -> Answer:
        kinds = TYPE.findall(asked.accept)
        if kinds and node.kind not in kinds and "*/*" not in asked.accept:
            raise Refusal(406, f"this is a {node.kind}")
        if not asked.is_cdmi:
            return self.get_http(asked, node)
        fields = self.fields(node, asked)
        self.tell(asked, node, "cdmi_read", "200 OK")
        if "multipart/mixed" in asked.accept:
            return self.get_mixed(node, fields)
        headers = (("Content-Type", f"application/cdmi-{node.kind}"),)
        return Answer(200, headers, json.dumps(self.selected(asked, node, fields)).encode())

    def get_http(self, asked: Asked, node: Node) -> Answer:
        if node.kind != "object":
            return Answer(200, (("Content-Type", "text/plain"),), "\n".join(node.children).encode())
        self.permit(node, READ_OBJECT)
        headers = (("Content-Type", node.mimetype), ("Accept-Ranges", "bytes"))
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.request.header("range"))
        size = len(node.octets)
        if not match or not any(match.groups()) or (all(match.groups()) and int(match[1]) > int(match[2])):
            return Answer(200, headers, node.octets)
        first = int(match[1]) if match[1] else max(0, size - int(match[2]))
        last = min(int(match[2]), size - 1) if match[1] and match[2] else size - 1
        if first >= size:
            return Answer(416, (("Content-Range", f"bytes */{size}"),))
        headers = (*headers, ("Content-Range", f"bytes {first}-{last}/{size}"))
        return Answer(206, headers, node.octets[first : last + 1])

    def get_mixed(self, node: Node, fields: dict[str, Any]) -> Answer:
        self.need(None, "multipart_mime")
        fields.pop("value", None)
        body = b"--subject\r\nContent-Type: application/cdmi-object\r\n\r\n" + json.dumps(fields).encode()
        head = f"\r\n--subject\r\nContent-Type: {node.mimetype}\r\nContent-Transfer-Encoding: binary\r\n\r\n"
        body += head.encode() + node.octets + b"\r\n--subject--\r\n"
        return Answer(200, (("Content-Type", "multipart/mixed; boundary=subject"),), body)

    def fields(self, node: Node, asked: Asked) -> dict[str, Any]:
        """All fields, in the order in which they are answered."""
        found: dict[str, Any] = {"objectType": f"application/cdmi-{node.kind}", "objectID": node.id}
        if node.parent is not None:
            found["objectName"] = node.name + ("/" if node.is_container else "")
            found["parentURI"] = unquote(self.uri(node.parent, asked.root))
            found["parentID"] = node.parent.id
        elif node is self.root:
            found |= {"objectName": "/", "parentURI": "" if asked.root == "/" else "/cdmi/"}
        if node.kind == "capability":
            found["capabilities"] = node.capabilities
            return found | self.listing(node)
        if self.claim(None, "domains"):
            found["domainURI"] = f"{asked.root}cdmi_domains/"
        kind = {"object": "dataobject"}.get(node.kind, node.kind)
        kind += "/dataobject_version" if node.version_of else ""
        found["capabilitiesURI"] = f"{asked.root}cdmi_capabilities/{kind}/"
        found["completionStatus"] = "Processing" if node.partial else "Complete"
        found["percentComplete"] = "50" if node.partial else "100"
        if node.kind == "object":
            found["mimetype"] = node.mimetype
        found["metadata"] = self.shown_metadata(node)
        found |= node.other
        if node.kind == "object":
            return found | self.value_fields(node)
        if node.kind == "queue":
            return found | self.queue_fields(node, asked)
        found |= {"exports": self.shown_exports(node, asked)} if node.exports else {}
        found |= {"snapshots": [self.uri(one, asked.root) for one in node.snapshots.values()]} if node.snapshots else {}
        return found | self.listing(node)

    def value_fields(self, node: Node) -> dict[str, Any]:
        found = {"valuetransferencoding": node.encoding}
        if not self.permitted(node, READ_OBJECT):
            return found
        end = node.gap_at or len(node.octets)
        found["valuerange"] = f"0-{end - 1}" if end else ""
        if not node.partial:
            found["value"] = encoded(node.encoding, node.octets)
        return found

    def listing(self, node: Node) -> dict[str, Any]:
        names = [
            name + ("?" if child.reference else "/" if child.is_container else "")
            for name, child in node.children.items()
        ]
        names += ["cdmi_snapshots/"] if node.snapshots else []
        return {"childrenrange": f"0-{len(names) - 1}" if names else "", "children": names}

    def selected(self, asked: Asked, node: Node, fields: dict[str, Any]) -> dict[str, Any]:
        """Only what the query asks for."""
        if not asked.query:
            is_shown = self.permitted(node, READ_METADATA)
            return {name: value for name, value in fields.items() if is_shown or name != "metadata"}
        found: dict[str, Any] = {}
        for name, argument in asked.query:
            self.permit_field(node, name, argument)
            if name == "metadata" and argument is not None:
                start: dict[str, Any] = found.setdefault("metadata", {})
                start |= {key: value for key, value in fields["metadata"].items() if key.startswith(argument)}
            elif name == "value" and argument is not None and node.kind == "object":
                self.need("dataobject", "read_value_range")
                first, last = span(argument, len(node.octets))
                fields |= {"valuerange": f"{first}-{last}"}
                found["value"] = encoded("base64", node.octets[first : last + 1])
            elif name == "children" and argument is not None:
                self.need(node.kind if node.kind in self.claims else None, *CHILD_RANGES.get(node.kind, ()))
                first, last = span(argument, len(fields["children"]))
                fields |= {"childrenrange": f"{first}-{last}"}
                found["children"] = fields["children"][first : last + 1]
            elif name in fields:
                found[name] = fields[name]
            elif name == "values" and node.kind == "queue":
                found |= {key: fields[key] for key in ("mimetype", "valuerange", "valuetransferencoding", "value")}
        for name in ("valuerange", "childrenrange"):
            found |= {name: fields[name]} if name in found else {}
        last_fields = ("childrenrange", "children", "valuerange", "value")
        return {k: v for k, v in found.items() if k not in last_fields} | {
            k: found[k] for k in last_fields if k in found
        }

    def permit_field(self, node: Node, name: str, argument: str | None) -> None:
        if name == "value":
            self.permit(node, READ_OBJECT)
        elif name == "metadata" and argument != "cdmi_acl":
            self.permit(node, READ_METADATA)

    def queue_fields(self, node: Node, asked: Asked) -> dict[str, Any]:
        numbers = [number for number, *_ in node.values]
        found: dict[str, Any] = {"queueValues": f"{numbers[0]}-{numbers[-1]}" if numbers else ""}
        count = int(asked.argument("values") or 1)
        shown = node.values[:count]
        found["mimetype"] = [mimetype for _, _, mimetype, _ in shown]
        found["valuetransferencoding"] = [encoding for _, _, _, encoding in shown]
        found["valuerange"] = [f"0-{len(octets) - 1}" for _, octets, _, _ in shown]
        return found | {"value": [encoded(encoding, octets) for _, octets, _, encoding in shown]}

    def shown_exports(self, node: Node, asked: Asked) -> dict[str, Any]:
        found: dict[str, Any] = {}
        wanted = dict(part.partition("=")[::2] for part in (asked.argument("exports") or "").split(","))
        for protocol, (name, permissions) in node.exports.items():
            if wanted.get("protocol", "all") not in ("all", protocol):
                continue
            entry: dict[str, Any] = {"permissions": permissions}
            if protocol == "OCCI/iSCSI":
                entry["identifier"] = node.id
            else:
                entry |= {
                    "portals": ["192.0.2.1"],
                    "target_identifier": f"iqn.2010-01.com.example:{node.id.lower()},t,0x0001",
                    "logical_unit_number": "0",
                    "logical_unit_name": "0x6001" + node.id[-28:],
                }
            found |= {name: {"type": TYPES[protocol], **entry}} if asked.is_2 else {protocol: entry}
        return found

    # -- making ----------------------------------------------------------------------------------

    def create(self, asked: Asked, parent: Node | None, name: str, slash: bool) -> Answer:
        if parent is None or not parent.is_container or parent.kind != "container":
            raise Refusal(404 if parent is None else 400, "nothing can be made here")
        if name in (".", "..") or re.search(r"[/?]", name):
            raise Refusal(400, "no name")
        if name.startswith("cdmi_"):
            raise Refusal(400, f"{name} is reserved")
        if not asked.is_cdmi:
            return self.create_http(asked, parent, name, slash)
        if not asked.kind and not asked.is_mixed:
            raise Refusal(400, "no Content-Type")
        kind = asked.kind or "object"
        if (kind == "container") != slash:
            raise Refusal(400, "the slash and the type differ")
        sent = asked.document()
        node = self.made(asked, kind, name, parent, sent)
        self.place(node)
        self.tell(asked, node, "cdmi_create_complete", "201 Created")
        self.search(asked, node)
        fields = self.fields(node, asked)
        for key in ("value", "valuerange", "valuetransferencoding"):
            fields.pop(key, None)
        return Answer(201, (("Content-Type", f"application/cdmi-{kind}"),), json.dumps(fields).encode())

    def create_http(self, asked: Asked, parent: Node, name: str, slash: bool) -> Answer:
        if slash:
            self.need("container", "create_container")
            self.place(self.new("container", name, parent))
            return Answer(201)
        self.place(self.http_object(asked, name, parent))
        return Answer(201)

    def http_object(self, asked: Asked, name: str, parent: Node | None) -> Node:
        self.need("container", "create_dataobject")
        node = self.new("object", name, parent)
        node.octets, node.partial = asked.request.body, asked.partial
        self.http_type(asked, node)
        return node

    def http_type(self, asked: Asked, node: Node) -> None:
        mimetype, _, parameters = asked.sent.partition(";")
        node.mimetype = mimetype.strip().lower() or "application/octet-stream"
        node.encoding = "utf-8" if "charset=utf-8" in parameters.lower() else "base64"

    def made(self, asked: Asked, kind: str, name: str, parent: Node | None, sent: dict[str, Any]) -> Node:
        """A new node, not yet in its place."""
        sources = [key for key in SOURCES if key in sent]
        if len(sources) > 1:
            raise Refusal(400, f"{' and '.join(sources)} exclude one another")
        if "reference" in sent:
            self.need("container", "create_reference")
            if len(sent) > 1:
                raise Refusal(400, "a reference is alone")
            node = self.new("reference", name, parent)
            node.reference = sent["reference"]
            return node
        noun = {"object": "dataobject"}.get(kind, kind)
        self.need("container", f"create_{noun}")
        for how in ("copy", "move", "serialize", "deserialize", "deserializevalue"):
            if how in sent:
                node = self.from_source(asked, how, kind, name, parent, sent[how])
                if "metadata" in sent:
                    self.set_metadata(node, sent["metadata"], None)
                return node
        node = self.new(kind, name, parent)
        try:
            self.fill(asked, node, sent)
        except Refusal:
            self.unregister(node)
            raise
        node.changes, node.modified = 0, node.created
        self.keep(asked, node)
        return node

    def from_source(  # noqa: C901
        self, asked: Asked, how: str, kind: str, name: str, parent: Node | None, uri: Any
    ) -> Node:
        noun = {"object": "dataobject"}.get(kind, kind)
        if how.startswith("deserialize"):
            self.need("container", f"deserialize_{noun}")
            octets = decoded("base64", uri) if how == "deserializevalue" else self.at(uri, asked)[0].octets
            return self.restored(octets, name, parent)
        source, query = self.at(uri, asked)
        if how in ("serialize", "move"):
            self.refuse_version(source)
        if how == "serialize":
            self.need("container", f"serialize_{ {'object': 'dataobject'}.get(source.kind, source.kind) }")
            node = self.new("object", name, parent)
            node.octets = json.dumps(self.serialized(source, asked)).encode()
            node.mimetype = "application/json"
            return node
        self.need("container", f"{how}_{noun}")
        if source.kind != kind:
            raise Refusal(400, "the source is of another kind")
        if query and asked.query:
            raise Refusal(400, "fields in both URIs")
        if how == "move":
            if parent in (source, *source.below()):
                raise Refusal(400, "into itself")
            if source.parent is not None:
                del source.parent.children[source.name]
            for one in (source, *source.versions):
                one.name, one.parent = name, parent
            self.keep(asked, source)
            return source
        node = self.copied(source, name, parent)
        if query:
            node.metadata, node.mimetype = {}, "text/plain"
        self.keep(asked, node)
        return node

    def serialized(self, node: Node, asked: Asked) -> dict[str, Any]:
        found = self.fields(node, asked)
        if node.kind == "container":
            found["children"] = [self.serialized(child, asked) for child in node.children.values()]
        if node.versions:
            found["value"] = [self.serialized(one, asked) for one in reversed(node.versions)]
        return found

    def restored(self, octets: bytes, name: str, parent: Node | None) -> Node:
        try:
            found = json.loads(octets)
            return self.restored_from(found, name, parent)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Refusal(400, "not serialized") from error

    def restored_from(self, found: dict[str, Any], name: str, parent: Node | None) -> Node:
        kind = found["objectType"].removeprefix("application/cdmi-")
        if found["objectID"].upper() in self.by_id:
            raise Refusal(409, "it still exists")
        if "cdmi_version_children" in found["metadata"]:
            raise Refusal(403, "a version goes with its object")
        node = self.new(kind, name, parent, found["objectID"])
        node.metadata = {k: v for k, v in found["metadata"].items() if not k.startswith("cdmi_")}
        if kind == "object" and isinstance(found["value"], list):
            self.restore_versions(node, found)
        elif kind == "object":
            node.mimetype, node.encoding = found["mimetype"], found["valuetransferencoding"]
            node.octets = decoded(node.encoding, found["value"])
        for child in found.get("children", []):
            self.place(self.restored_from(child, child["objectName"].rstrip("/"), node))
        return node

    def restore_versions(self, node: Node, found: dict[str, Any]) -> None:
        node.metadata |= {VERSIONING: found["metadata"][VERSIONING]} if VERSIONING in found["metadata"] else {}
        for one in reversed(found["value"]):
            bare = {key: value for key, value in one["metadata"].items() if not key.startswith("cdmi_")}
            version = self.restored_from({**one, "metadata": bare}, node.name, node.parent)
            version.version_of = node
            node.versions.append(version)
        for attribute in ("octets", "mimetype", "encoding"):
            setattr(node, attribute, getattr(node.versions[-1], attribute))

    def fill(self, asked: Asked, node: Node, sent: dict[str, Any]) -> None:
        """Set what a body says, checked as a whole before anything is changed."""
        for key in ("mimetype", "valuetransferencoding"):
            if key in sent and node.kind == "object" and not isinstance(sent[key], str):
                raise Refusal(400, f"{key} is no string")
        encoding = sent.get("valuetransferencoding", node.encoding)
        known = ("utf-8", "base64", *(("json",) if self.claim(None, "valuetransferencoding_json") else ()))
        if encoding not in known:
            raise Refusal(400, f"{encoding} is no encoding")
        octets = decoded(encoding, sent["value"]) if "value" in sent else None
        exports = self.checked_exports(sent["exports"]) if "exports" in sent else node.exports
        if "metadata" in sent or asked.items() is not None:
            self.set_metadata(node, sent.get("metadata", {}), asked.items())
        node.exports = exports
        node.other |= {key: value for key, value in sent.items() if key not in KNOWN}
        if node.kind == "object":
            node.mimetype = sent.get("mimetype", node.mimetype).lower()
            node.encoding = encoding
            if asked.is_mixed:
                self.fill_parts(asked, node, sent)
            elif octets is not None:
                node.octets, node.gap_at = octets, None
            node.partial = asked.partial

    def fill_parts(self, asked: Asked, node: Node, sent: dict[str, Any]) -> None:
        self.need(None, "multipart_mime")
        types = [part["content-type"] for part in asked.parts()[1:]]
        if "mimetype" not in sent:
            node.mimetype = str(types[0]).partition(";")[0].strip().lower()
        node.encoding = "utf-8" if all("charset" in str(one) for one in types) else "base64"
        after = 0
        for part in asked.parts()[1:]:
            match = re.fullmatch(r"bytes (\d+)-(\d+)/.*", str(part["content-range"] or ""))
            first = int(match[1]) if match else after
            self.write_range(node, first, payload(part))
            after = first + len(payload(part))

    def checked_exports(self, sent: Any) -> dict[str, tuple[str, list[str]]]:
        found = {}
        for name, entry in sent.items():
            asked = entry.get("type", name)
            protocol = next((one for one, type_of_2 in TYPES.items() if asked in (one, type_of_2)), None)
            if protocol is None:
                raise Refusal(400, f"no export by {asked}")
            self.need(None, "export_iscsi" if protocol == "Network/iSCSI" else "export_occi_iscsi")
            permissions = entry.get("permissions", [])
            if not isinstance(permissions, list) or not all(isinstance(one, str) for one in permissions):
                raise Refusal(400, "permissions is no list of names")
            if not all(re.fullmatch(PERMITTED[protocol], one) for one in permissions):
                raise Refusal(400, f"nobody is called {permissions}")
            found[protocol] = (name, permissions)
        return found

    # -- changing --------------------------------------------------------------------------------

    def keep(self, asked: Asked, node: Node, *, is_new: bool = False) -> None:
        """The version that a change makes, and who is told of it."""
        made = self.keep_version(node, is_new=is_new) if node.kind == "object" else None
        if made is not None:
            self.tell(asked, made, "cdmi_create_complete", "201 Created")

    def refuse_version(self, node: Node) -> None:
        if node.version_of is not None:
            raise Refusal(403, "a version doesn't change")

    def update(self, asked: Asked, node: Node) -> Answer:  # noqa: C901
        self.refuse_version(node)
        if not asked.is_cdmi:
            return self.update_http(asked, node)
        if not asked.kind and not asked.is_mixed:
            raise Refusal(400, "no Content-Type")
        if asked.kind and asked.kind != node.kind:
            raise Refusal(400, f"this is a {node.kind}")
        noun = {"object": "dataobject"}.get(node.kind, node.kind)
        sent = asked.document()
        if "snapshot" in sent:
            return self.take_snapshot(node, sent["snapshot"])
        if "copy" in sent:
            return self.copy_onto(asked, node, sent["copy"])
        if "metadata" in sent or asked.items() is not None:
            self.need(noun, "modify_metadata")
            keys = set(asked.items() or sent.get("metadata", {}))
            if keys != {"cdmi_acl"}:
                self.permit(node, WRITE_METADATA)
            if not keys <= {"cdmi_retention_period", "cdmi_hold_id"}:
                self.must_not_be_retained(node)
        if "value" in sent or "mimetype" in sent or asked.is_mixed:
            self.permit(node, WRITE_OBJECT)
            self.must_not_be_retained(node)
        part = asked.argument("value")
        if part is not None:
            self.need(noun, "modify_value_range")
            first, last = span(part, 10**9)
            octets = decoded("base64", sent.get("value"))
            if len(octets) != last - first + 1:
                raise Refusal(400, "the range and the value differ in length")
            self.write_range(node, first, octets)
            node.encoding, node.partial = "base64", asked.partial
        else:
            self.fill(asked, node, sent)
        self.touch(node)
        self.tell(asked, node, "cdmi_modify_complete", "204 No Content")
        return Answer(204)

    def update_http(self, asked: Asked, node: Node) -> Answer:
        if node.kind != "object":
            raise Refusal(400, "only values can be written so")
        self.permit(node, WRITE_OBJECT)
        self.must_not_be_retained(node)
        ranged = asked.request.header("content-range")
        if ranged:
            self.need("dataobject", "modify_value_range")
            match = re.fullmatch(r"bytes (\d+)-(\d+)/(?:\d+|\*)", ranged)
            if not match or int(match[2]) - int(match[1]) + 1 != len(asked.request.body):
                raise Refusal(400, "no Content-Range")
            self.write_range(node, int(match[1]), asked.request.body)
        else:
            self.need("dataobject", "modify_value")
            node.octets, node.gap_at = asked.request.body, None
            self.http_type(asked, node)
        node.partial = asked.partial
        self.touch(node)
        return Answer(204)

    def take_snapshot(self, node: Node, name: str) -> Answer:
        self.need("container", "snapshot")
        if name in node.snapshots:
            self.remove(node.snapshots[name])
        node.snapshots[name] = self.copied(node, name, node)
        return Answer(204)

    def copy_onto(self, asked: Asked, node: Node, uri: Any) -> Answer:
        self.need("container", f"copy_{ {'object': 'dataobject'}.get(node.kind, node.kind) }")
        source, _ = self.at(uri, asked)
        node.octets, node.mimetype, node.encoding = source.octets, source.mimetype, source.encoding
        kept = {name: value for name, value in node.metadata.items() if name in (VERSIONING, VERSIONS_COUNT)}
        node.metadata = {**source.metadata, **kept}
        for child in node.children.values():
            self.unregister(child)
        node.children = {key: self.copied(child, key, node) for key, child in source.children.items()}
        self.touch(node)
        return Answer(204)

    def post(self, asked: Asked, node: Node | None) -> Answer:
        if node is None:
            raise Refusal(404, "not here")
        if node.kind == "queue":
            return self.enqueue(asked, node)
        if node.kind != "container":
            raise Refusal(405, "no container")
        if not asked.is_cdmi:
            self.need("container", "post_dataobject")
            made = self.http_object(asked, "", node)
        else:
            noun = {"object": "dataobject"}.get(asked.kind, asked.kind)
            self.need("container", f"post_{noun}")
            made = self.made(asked, asked.kind, "", node, asked.document())
        made.name = made.id
        self.place(made)
        headers = (
            ("Location", self.base + self.uri(made, asked.root)),
            ("Content-Type", f"application/cdmi-{made.kind}"),
        )
        return Answer(201, headers, json.dumps(self.fields(made, asked)).encode())

    def post_by_id(self, asked: Asked) -> Answer:
        noun = {"object": "dataobject"}.get(asked.kind, asked.kind)
        self.need(None, f"post_{noun}_by_ID")
        made = self.made(asked, asked.kind, "", None, asked.document())
        where = f"{self.base}{asked.root}cdmi_objectid/{made.id}"
        headers = (("Location", where), ("Content-Type", f"application/cdmi-{made.kind}"))
        return Answer(201, headers, json.dumps(self.fields(made, asked)).encode())

    def enqueue(self, asked: Asked, node: Node) -> Answer:
        self.need("queue", "modify_value")
        sent = asked.document()
        values = sent.get("value")
        if not isinstance(values, list):
            raise Refusal(400, "value is no array")
        mimetypes = sent.get("mimetype", ["text/plain"] * len(values))
        encodings = sent.get("valuetransferencoding", ["utf-8"] * len(values))
        if not len(values) == len(mimetypes) == len(encodings):
            raise Refusal(400, "arrays of different lengths")
        for value, mimetype, encoding in zip(values, mimetypes, encodings, strict=True):
            node.values.append((node.next_value, decoded(encoding, value), mimetype.lower(), encoding))
            node.next_value += 1
        return Answer(204)

    # -- removing --------------------------------------------------------------------------------

    def delete(self, asked: Asked, node: Node) -> Answer:
        if node.name in RESERVED:
            raise Refusal(400, f"{node.name} is reserved")
        if node.kind == "queue" and (asked.has("value") or asked.has("values")):
            return self.dequeue(asked, node)
        noun = {"object": "dataobject"}.get(node.kind, node.kind)
        if node.kind != "reference":
            self.need(noun, f"delete_{noun}")
        self.permit(node, DELETE)
        self.must_not_be_retained(node, below=True)
        if "Network/iSCSI" in node.exports:
            raise Refusal(409, "an initiator may have it")
        if node.version_of is not None and len(node.version_of.versions) == 1:
            raise Refusal(403, "the only version")
        self.tell(asked, node, "cdmi_delete", "204 No Content")
        self.remove(node)
        return Answer(204)

    def dequeue(self, asked: Asked, node: Node) -> Answer:
        wanted = asked.argument("values")
        if wanted is None or wanted.isdigit():
            del node.values[: int(wanted or 1)]
            return Answer(204)
        first, last = span(wanted, 10**9)
        if node.values and first > node.values[0][0]:
            raise Refusal(400, "the lowest comes first")
        node.values = [value for value in node.values if value[0] > last]
        return Answer(204)

    # -- queues that are filled ------------------------------------------------------------------

    def tell(self, asked: Asked, node: Node, event: str, outcome: str) -> None:
        """The notification queues that are about it."""
        about = {
            "cdmi_event": event,
            "cdmi_event_result": outcome,
            "cdmi_event_time": self.now(),
            "cdmi_event_user": USER,
        }
        for queue in list(self.by_id.values()):
            is_told = queue.metadata.get("cdmi_queue_type") == "cdmi_notification_queue" and node.kind == "object"
            if is_told and self.hears(queue, event) and self.is_about(queue, node, asked):
                self.put_in(queue, {**about, **self.fields(node, asked)})

    def hears(self, queue: Node, event: str) -> bool:
        events = queue.metadata["cdmi_notification_events"]
        return not events or event in events

    def is_about(self, queue: Node, node: Node, asked: Asked) -> bool:
        fields = {**self.fields(node, asked), **self.spellings(node, asked)}
        return scope.matches(scope.parse_scope(queue.metadata["cdmi_scope_specification"]), fields)

    def spellings(self, node: Node, asked: Asked) -> dict[str, Any]:
        if node.parent is None:
            return {}
        by_id = f"/cdmi_objectid/{node.parent.id}"
        return {"parentURI": scope.Spellings([unquote(self.uri(node.parent, asked.root)), by_id, f"{by_id}/"])}

    def put_in(self, queue: Node, fields: dict[str, Any]) -> None:
        told = json.dumps(scope.chosen(queue.metadata["cdmi_results_specification"], fields)).encode()
        queue.values.append((queue.next_value, told, "application/json", "utf-8"))
        queue.next_value += 1

    def search(self, asked: Asked, queue: Node) -> None:
        if queue.metadata.get("cdmi_queue_type") == "cdmi_query_queue":
            for node in [one for each in self.root.below() for one in (each, *each.versions)]:
                if node.kind in ("object", "container") and self.is_about(queue, node, asked):
                    self.put_in(queue, self.fields(node, asked))


class Subject(HttpSubject[Cloud]):
    """The CDMI server, running."""

    def __init__(self) -> None:
        super().__init__(Cloud)

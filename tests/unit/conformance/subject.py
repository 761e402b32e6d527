"""A small OCCI server in memory: the suite's subject in these tests, healthy unless a fault is put between.

It keeps the standards' letter as far as the suite looks and serves nothing else.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from conformance.occi.reader import Value, quote, read_value, split_outside_quotes, unquote
from tests.unit.conformance.http_subject import PASSWORD, USER, Answer, HttpSubject, Refusal, Request

INFRA = "http://schemas.ogf.org/occi/infrastructure#"
CORE = "http://schemas.ogf.org/occi/core#"
BASE = "http://schemas.ogf.org/occi/infrastructure"
CRTP = f"{BASE}/compute/template/1.1#"
JSON = "application/occi+json"
TYPES = ("text/plain", "text/occi+plain", "text/occi", "text/uri-list", JSON)
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
QUOTED = r'"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*"'
VALUE = rf"(?:{QUOTED}|\d+(?:\.\d+)?|true|false)"


@dataclass
class Category:
    term: str
    scheme: str
    class_: str
    title: str = ""
    rel: str = ""
    location: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    """Name to its properties, as in the text rendering."""
    actions: tuple[str, ...] = ()
    applies: tuple[str, ...] = ()
    user: bool = False
    presets: dict[str, float] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.scheme + self.term

    def text(self) -> str:
        parts = [self.term, f'scheme="{self.scheme}"', f'class="{self.class_}"']
        parts += [f"title={quote(self.title)}"] if self.title else []
        parts += [f'rel="{self.rel}"'] if self.rel else []
        parts += [f'location="{self.location}"'] if self.location else []
        names = [name + (f"{{{how}}}" if how else "") for name, how in self.attributes.items()]
        parts += [f'attributes="{" ".join(names)}"'] if names else []
        parts += [f'actions="{" ".join(self.actions)}"'] if self.actions else []
        return "; ".join(parts)

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"term": self.term, "scheme": self.scheme}
        found |= {"title": self.title} if self.title else {}
        found["attributes"] = {
            name: {"mutable": "immutable" not in how, "required": "required" in how, "type": "string"}
            for name, how in self.attributes.items()
        }
        if self.class_ != "action":
            found |= {"actions": list(self.actions)}
            found |= {"location": self.location} if self.location else {}
        if self.class_ == "kind" and self.rel:
            found["parent"] = self.rel
        if self.class_ == "mixin":
            found |= {"depends": [self.rel] if self.rel else [], "applies": list(self.applies)}
        return found


@dataclass
class Entity:
    kind: Category
    path: str
    id: str
    attributes: dict[str, Any]
    mixins: list[Category] = field(default_factory=list)
    source: str = ""
    target: str = ""


@dataclass
class Message:
    categories: list[Value] = field(default_factory=list)
    links: list[Value] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)
    locations: list[str] = field(default_factory=list)


STATES: dict[str, tuple[str, dict[str, dict[str, str]]]] = {
    "compute": ("inactive", {"inactive": {"start": "active"}, "suspended": {"start": "active"}, "active": {
        "stop": "inactive", "restart": "active", "suspend": "suspended"}}),
    "network": ("active", {"active": {"down": "inactive"}, "inactive": {"up": "active"}}),
    "storage": ("offline", {"offline": {"online": "online"}, "online": {"offline": "offline"}}),
    "networkinterface": ("active", {"active": {}}),
    "storagelink": ("active", {"active": {}}),
}  # fmt: skip
METHODS = {"graceful", "acpioff", "poweroff", "warm", "cold", "hibernate", "suspend"}
NUMBERS = {"occi.compute.cores", "occi.compute.memory", "occi.storage.size", "occi.network.vlan"}


def registry() -> list[Category]:
    core = {"occi.core.id": "immutable", "occi.core.title": ""}
    found = [
        Category("entity", CORE, "kind", attributes=core),
        Category("resource", CORE, "kind", rel=CORE + "entity", attributes=core | {"occi.core.summary": ""}),
        Category("link", CORE, "kind", rel=CORE + "entity", attributes=core),
    ]
    attributes = {
        "compute": "architecture cores hostname memory speed share state{immutable} state.message{immutable}",
        "network": "vlan label state{immutable} state.message{immutable}",
        "storage": "size{required} state{immutable} state.message{immutable}",
        "networkinterface": "interface{immutable} mac state{immutable}",
        "storagelink": "deviceid mountpoint state{immutable}",
    }
    actions = {
        "compute": "start stop restart suspend save",
        "network": "up down",
        "storage": "online offline backup snapshot resize",
    }
    for term, text in attributes.items():
        parent = "resource" if term in actions else "link"
        names = dict(re.findall(r"([\w.]+)(?:\{(\w+)\})?", text))
        scheme = f"{BASE}/{term}/action#"
        terms = actions.get(term, "").split()
        found.append(
            Category(
                term,
                INFRA,
                "kind",
                f"{term} of the subject",
                CORE + parent,
                f"/{term}/",
                {f"occi.{term}.{name}": how for name, how in names.items()},
                tuple(scheme + name for name in terms),
            )
        )
        found += [
            Category(name, scheme, "action", name, attributes={"method": ""} if term == "compute" else {})
            for name in terms
        ]
    compute, interface = INFRA + "compute", INFRA + "networkinterface"
    found += [
        mixin(f"{BASE}/network#ipnetwork", INFRA + "network", "occi.network", "address gateway allocation"),
        mixin(f"{BASE}/networkinterface#ipnetworkinterface", interface, "occi.networkinterface",
              "address gateway allocation"),
        mixin(f"{BASE}/credentials#ssh_key", compute, "occi.credentials", "ssh.publickey{required}"),
        mixin(f"{BASE}/compute#user_data", compute, "occi.compute", "userdata{required}"),
        mixin(INFRA + "os_tpl", compute),
        mixin(INFRA + "resource_tpl", compute),
        mixin("http://subject.example.com/os#cirros", compute, rel=INFRA + "os_tpl"),
    ]  # fmt: skip
    for term, size in (("small", 1), ("medium", 2), ("large", 4)):
        template = mixin(CRTP + term, compute, "occi.compute.ephemeral_storage", "size{immutable}",
                         INFRA + "resource_tpl")  # fmt: skip
        template.presets = {
            "occi.compute.cores": size,
            "occi.compute.memory": float(size),
            "occi.compute.ephemeral_storage.size": 10.0 * size,
        }
        found.append(template)
    return found


def mixin(identifier: str, applies: str, prefix: str = "", names: str = "", rel: str = "") -> Category:
    scheme, term = identifier.rsplit("#", 1)
    defined = dict(re.findall(r"([\w.]+)(?:\{(\w+)\})?", names))
    return Category(
        term,
        scheme + "#",
        "mixin",
        rel=rel,
        location=f"/mixins/{term}/",
        attributes={f"{prefix}.{name}": how for name, how in defined.items()},
        applies=(applies,),
    )


class Cloud:
    """All that the subject knows, and what it answers."""

    def __init__(self) -> None:
        self.categories = registry()
        self.entities: dict[str, Entity] = {}
        self.base = ""

    # -- reading ---------------------------------------------------------------------------------

    def message(self, request: Request) -> Message:
        sent_type = request.header("content-type").split(";")[0].split(",")[0].strip().lower()
        if request.method == "GET" or sent_type == "text/occi":
            return self.fields([(n, v) for n, v in request.headers if n.lower() in FIELDS])
        if not request.body and not sent_type:
            return Message()
        if sent_type == JSON:
            return self.json_message(request.body)
        if sent_type not in ("text/plain", "text/occi+plain"):
            raise Refusal(406, "unknown type of content")
        try:
            text = request.body.decode()
        except UnicodeDecodeError as error:
            raise Refusal(400, "not UTF-8") from error
        found = []
        for line in re.split(r"\r?\n", text):
            name, colon, value = line.partition(":")
            if line.strip() and (not colon or name.strip().lower() not in FIELDS):
                raise Refusal(400, f"not understood: {line[:40]}")
            if line.strip():
                found.append((name.strip(), value.strip()))
        return self.fields(found)

    def fields(self, fields: list[tuple[str, str]]) -> Message:
        message = Message()
        for name, text in fields:
            if text.count('"') - len(re.findall(r'\\"', text)) < 0 or re.search(r"[\x00-\x1f\x7f]", text):
                raise Refusal(400, "control characters")
            values = split_outside_quotes(text, ",")
            if not values:
                raise Refusal(400, f"{name} is empty")
            for value in values:
                match name.lower():
                    case "category":
                        message.categories.append(self.category_value(value))
                    case "link":
                        if not re.match(rf'<[^>]+>(?: *; *{NAME}=(?:{VALUE}|[^\s";]+))+ *;?$', value):
                            raise Refusal(400, "malformed Link")
                        message.links.append(read_value(value))
                    case "x-occi-attribute":
                        if not re.fullmatch(rf"{NAME}={VALUE}", value):
                            raise Refusal(400, f"malformed attribute {value[:40]}")
                        key, _, raw = value.partition("=")
                        number = re.fullmatch(r"[\d.]+", raw)
                        message.attributes[key] = float(raw) if number and len(raw) < 300 else unquote(raw)
                    case _:
                        message.locations.append(value)
        return message

    def category_value(self, value: str) -> Value:
        parameter = rf" *; *(?:class={NAME}|[a-z]+={QUOTED})"
        found = read_value(value)
        if not re.fullmatch(rf"{NAME}(?:{parameter})+ *;? *", value) or "#" not in found.parameters.get("scheme", ""):
            raise Refusal(400, f"malformed category {value[:40]}")
        return found

    def json_message(self, body: bytes) -> Message:  # noqa: C901
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Refusal(400, "not JSON") from error
        if not isinstance(document, dict):
            raise Refusal(400, "not an object")
        message = Message()
        try:
            for one in document.get("mixins", []):
                message.categories.append(json_category(one, "mixin"))
            for name, class_ in (("kind", "kind"), ("action", "action")):
                if name in document:
                    message.categories.append(json_category(document[name], class_))
            message.attributes = dict(document.get("attributes", {}).items())
            for name in ("title", "summary", "id"):
                if name in document:
                    if not isinstance(document[name], str):
                        raise Refusal(400, f"{name} is no string")
                    message.attributes[f"occi.core.{name}"] = document[name]
            for name in ("source", "target"):
                if name in document:
                    message.attributes[f"occi.core.{name}"] = document[name]["location"]
            if not isinstance(document.get("links", []), list) or document.get("links"):
                raise Refusal(400, "no inline links in JSON here")
        except (AttributeError, TypeError, KeyError, ValueError) as error:
            raise Refusal(400, "JSON of another shape") from error
        return message

    # -- finding ---------------------------------------------------------------------------------

    def find(self, identifier: str) -> Category:
        for category in self.categories:
            if category.id == identifier:
                return category
        raise Refusal(404, f"no category {identifier}")

    def entity(self, location: str) -> Entity:
        path = urlsplit(location).path
        if path not in self.entities:
            raise Refusal(404, f"nothing at {path}")
        return self.entities[path]

    def actions(self, entity: Entity) -> dict[str, str]:
        term = entity.kind.term
        return STATES[term][1].get(entity.attributes[f"occi.{term}.state"], {})

    def links(self, entity: Entity) -> list[Entity]:
        return [link for link in self.entities.values() if link.source == entity.path]

    def members(self, category: Category) -> list[Entity]:
        return [e for e in self.entities.values() if e.kind is category or category in e.mixins]

    # -- rendering -------------------------------------------------------------------------------

    def attributes_text(self, entity: Entity) -> list[str]:
        found = {"occi.core.id": entity.id} | entity.attributes
        if entity.source:
            found |= {"occi.core.source": entity.source, "occi.core.target": entity.target}
        return [f"{name}={value if isinstance(value, int | float) else quote(value)}" for name, value in found.items()]

    def entity_fields(self, entity: Entity) -> list[tuple[str, str]]:
        found = [
            ("Category", f'{c.term}; scheme="{c.scheme}"; class="{c.class_}"') for c in (entity.kind, *entity.mixins)
        ]
        for link in self.links(entity):
            target = self.entities[link.target]
            value = (
                f'<{target.path}>; rel="{target.kind.id}"; self="{link.path}"; category="{link.kind.id}"; '
                + "; ".join(f"{n}={quote(str(v))}" for n, v in link.attributes.items() if "core" not in n)
            )
            found.append(("Link", value))
        scheme = f"{BASE}/{entity.kind.term}/action#"
        found += [("Link", f'<{entity.path}?action={t}>; rel="{scheme}{t}"') for t in self.actions(entity)]
        return found + [("X-OCCI-Attribute", text) for text in self.attributes_text(entity)]

    def entity_json(self, entity: Entity) -> dict[str, Any]:
        scheme = f"{BASE}/{entity.kind.term}/action#"
        found: dict[str, Any] = {
            "kind": entity.kind.id,
            "mixins": [mixin.id for mixin in entity.mixins],
            "attributes": {n: v for n, v in entity.attributes.items() if not n.startswith("occi.core.")},
            "actions": [scheme + term for term in self.actions(entity)],
            "id": entity.id,
        }
        for name in ("title", "summary"):
            if f"occi.core.{name}" in entity.attributes:
                found[name] = entity.attributes[f"occi.core.{name}"]
        if entity.source:
            found.pop("summary", None)
            found |= {"source": {"location": entity.source}, "target": {"location": entity.target}}
        else:
            found["links"] = [self.entity_json(link) for link in self.links(entity)]
        return found

    def show(self, media_type: str, fields: list[tuple[str, str]], document: Any, listing: bool = False) -> Answer:
        """An answer in the type that was asked for."""
        kind = (("Content-Type", media_type),)
        if media_type == JSON:
            return Answer(200, kind, json.dumps(document).encode())
        if media_type == "text/occi":
            joined: dict[str, list[str]] = {}
            for name, value in fields:
                joined.setdefault(name, []).append(value)
            return Answer(200, (*kind, *((n, ", ".join(v)) for n, v in joined.items())), b"OK")
        if media_type == "text/uri-list":
            if not listing:
                raise Refusal(400, "no listing")
            return Answer(200, kind, "".join(f"{value}\r\n" for _, value in fields).encode())
        return Answer(200, kind, "".join(f"{name}: {value}\n" for name, value in fields).encode())

    def show_entity(self, entity: Entity, media_type: str) -> Answer:
        return self.show(media_type, self.entity_fields(entity), self.entity_json(entity))

    def show_entities(self, found: list[Entity], media_type: str, key: str = "resources") -> Answer:
        fields = [("X-OCCI-Location", self.base + entity.path) for entity in found]
        document = {key: [self.entity_json(entity) for entity in found]}
        return self.show(media_type, fields, document, listing=True)

    def show_categories(self, found: list[Category], media_type: str) -> Answer:
        document = {
            f"{class_}s": [category.json() for category in found if category.class_ == class_]
            for class_ in ("kind", "mixin", "action")
        }
        return self.show(media_type, [("Category", category.text()) for category in found], document)

    # -- answering -------------------------------------------------------------------------------

    def answer(self, request: Request) -> Answer:
        try:
            return self.route(request)
        except Refusal as refusal:
            extra = (("WWW-Authenticate", 'Basic realm="subject"'),) if refusal.status == 401 else ()
            return Answer(refusal.status, (("Content-Type", "text/plain"), *extra), str(refusal).encode())

    def route(self, request: Request) -> Answer:
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if request.header("authorization") != f"Basic {token}":
            raise Refusal(401, "who are you?")
        claimed = re.search(r"OCCI/(\d+)\.(\d+)", request.header("user-agent"))
        if claimed and (int(claimed[1]), int(claimed[2])) > (1, 2):
            raise Refusal(501, "too new")
        media_type = negotiate(request.header("accept"))
        if request.method not in ("GET", "POST", "PUT", "DELETE"):
            raise Refusal(405, "unknown method")
        path = request.path.replace("/.well-known/org/ogf/occi/-/", "/-/")
        message = self.message(request)
        if path == "/-/":
            return self.query(request.method, message, media_type)
        bound = next((c for c in self.categories if c.location == path), None)
        if bound is not None:
            return self.collection(bound, request, message, media_type)
        if path.endswith("/"):
            return self.below(path, request, media_type)
        return self.instance(path, request, message, media_type)

    def query(self, method: str, message: Message, media_type: str) -> Answer:
        if method == "GET":
            wanted = [self.find(value.type_identifier) for value in message.categories]
            return self.show_categories(wanted or self.categories, media_type)
        if method == "PUT":
            raise Refusal(405, "not defined")
        if not message.categories:
            raise Refusal(400, "a category is expected")
        for value in message.categories:
            if method == "DELETE":
                found = self.find(value.type_identifier)
                if not found.user:
                    raise Refusal(403, "the provider's own")
                self.categories.remove(found)
                for entity in self.members(found):
                    entity.mixins.remove(found)
            else:
                location = value.parameters.get("location", "")
                if not location.endswith("/"):
                    raise Refusal(400, "a location is expected")
                scheme, rel = value.parameters["scheme"], value.parameters.get("rel", "")
                self.categories.append(Category(value.head, scheme, "mixin", rel=rel, location=location, user=True))
        return self.show(media_type, [], {})

    def collection(  # noqa: C901
        self, bound: Category, request: Request, message: Message, media_type: str
    ) -> Answer:
        members = self.members(bound)
        key = "links" if bound.rel == CORE + "link" else "resources"
        if "action" in request.query and request.method == "POST":
            for entity in members:
                self.act(entity, request.query["action"], message)
            return self.show(media_type, [], {})
        if request.method == "GET":
            members = self.filtered(members, message)
            if "page" in request.query:
                page, number = request.query["page"], request.query.get("number", "100")
                if not (page.isdigit() and number.isdigit()):
                    raise Refusal(400, "no page")
                if int(number) > 1000:
                    raise Refusal(413, "too many")
                start = (max(int(page), 1) - 1) * int(number)
                members = members[start : start + int(number)]
            return self.show_entities(members, media_type, key)
        if bound.class_ == "kind":
            return self.kind_collection(bound, request.method, message, media_type)
        named = [self.entity(location) for location in message.locations]
        if request.method in ("PUT", "DELETE"):
            for entity in members:
                if request.method == "PUT" or not named or entity in named:
                    entity.mixins.remove(bound)
        if request.method in ("PUT", "POST"):
            if not named and request.method == "POST":
                raise Refusal(400, "locations are expected")
            for entity in named:
                if bound not in entity.mixins:
                    entity.mixins.append(bound)
        return self.show_entities(self.members(bound), media_type)

    def kind_collection(self, bound: Category, method: str, message: Message, media_type: str) -> Answer:
        if method == "PUT":
            raise Refusal(405, "not defined")
        if method == "DELETE":
            for entity in self.members(bound):
                self.delete(entity)
            return self.show(media_type, [], {})
        made = self.create(message, bound)
        fields = (("Location", self.base + made.path), ("Content-Type", "text/plain"))
        return Answer(201, fields, f"X-OCCI-Location: {self.base}{made.path}".encode())

    def filtered(self, members: list[Entity], message: Message) -> list[Entity]:
        for value in message.categories:
            wanted = self.members(self.find(value.type_identifier))
            members = [entity for entity in members if entity in wanted]
        for name, value in message.attributes.items():
            members = [entity for entity in members if entity.attributes.get(name) == value]
        return members

    def below(self, path: str, request: Request, media_type: str) -> Answer:
        found = [entity for entity in self.entities.values() if entity.path.startswith(path)]
        if not found and path != "/":
            raise Refusal(404, "nothing below")
        if request.method == "DELETE":
            for entity in found:
                self.delete(entity)
            return self.show(media_type, [], {})
        return self.show_entities(found, media_type)

    def instance(self, path: str, request: Request, message: Message, media_type: str) -> Answer:
        if request.method == "PUT" and path not in self.entities:
            made = self.create(message, None, path)
            return self.show_entity(made, media_type)
        entity = self.entity(path)
        if request.method == "DELETE":
            self.delete(entity)
            return self.show(media_type, [], {})
        if request.method == "POST" and "action" in request.query:
            self.act(entity, request.query["action"], message)
            return self.show(media_type, [], {})
        if request.method in ("POST", "PUT"):
            self.update(entity, message, whole=request.method == "PUT")
        return self.show_entity(entity, media_type)

    # -- changing --------------------------------------------------------------------------------

    def create(self, message: Message, bound: Category | None, path: str = "") -> Entity:
        named = [self.find(value.type_identifier) for value in message.categories]
        kinds = [category for category in named if category.class_ == "kind"]
        if len(kinds) != 1 or (bound is not None and kinds[0] is not bound):
            raise Refusal(400, "one kind is expected, that of the location")
        kind, mixins = kinds[0], [category for category in named if category.class_ == "mixin"]
        attributes = dict(message.attributes)
        ends = [attributes.pop(f"occi.core.{name}", "") for name in ("source", "target")]
        self.check_attributes(kind, mixins, attributes, complete=True)
        for mixin_ in mixins:
            attributes |= mixin_.presets
        entity = Entity(kind, path or f"{kind.location}{uuid4()}", f"urn:uuid:{uuid4()}", attributes, mixins)
        attributes[f"occi.{kind.term}.state"] = STATES[kind.term][0]
        if kind.rel == CORE + "link":
            if not all(ends):
                raise Refusal(400, "source and target are expected")
            entity.source, entity.target = (self.entity(end).path for end in ends)
            attributes["occi.networkinterface.interface"] = "eth0"
            attributes.setdefault("occi.networkinterface.mac", "02:00:00:00:00:01")
            attributes.setdefault("occi.storagelink.deviceid", "/dev/vdb")
        if kind.term == "compute":
            attributes.setdefault("occi.compute.cores", 1)
            attributes.setdefault("occi.compute.memory", 1.0)
        links = [self.inline_link(entity, value) for value in message.links]
        self.entities[entity.path] = entity
        self.entities |= {link.path: link for link in links}
        return entity

    def inline_link(self, source: Entity, value: Value) -> Entity:
        kind = self.find(value.words("category")[0])
        target = self.entity(value.head)
        attributes = {f"occi.{kind.term}.state": "active", "occi.networkinterface.interface": "eth0"}
        path = f"{kind.location}{uuid4()}"
        found = Entity(kind, path, f"urn:uuid:{uuid4()}", dict(attributes))
        found.source, found.target = source.path, target.path
        return found

    def check_attributes(
        self, kind: Category, mixins: list[Category], attributes: dict[str, Any], complete: bool
    ) -> None:
        known = {"occi.core.id": "immutable", "occi.core.title": "", "occi.core.summary": ""}
        known |= kind.attributes
        for found in mixins:
            if found.applies and kind.id not in found.applies:
                raise Refusal(403, f"{found.term} can't be applied to {kind.term}")
            known |= found.attributes
        for name, value in attributes.items():
            if name not in known:
                raise Refusal(404, f"no attribute {name}")
            if "immutable" in known[name]:
                raise Refusal(403, f"{name} is immutable")
            if name in NUMBERS and not isinstance(value, int | float):
                raise Refusal(400, f"{name} is no number")
            if name not in NUMBERS and not isinstance(value, str):
                attributes[name] = str(value)
        if attributes.get("occi.network.vlan", 0) > 4095:
            raise Refusal(400, "no such VLAN")
        missing = [name for name, how in known.items() if "required" in how and name not in attributes]
        if complete and missing:
            raise Refusal(400, f"{missing[0]} is required")

    def update(self, entity: Entity, message: Message, whole: bool) -> None:
        named = [self.find(value.type_identifier) for value in message.categories]
        mixins = [category for category in named if category.class_ == "mixin"]
        if any(category.class_ == "kind" and category is not entity.kind for category in named):
            raise Refusal(400, "the kind stays")
        if message.links and (entity.source or whole):
            raise Refusal(400, "no Link here")
        self.check_attributes(entity.kind, [*entity.mixins, *mixins], message.attributes, complete=whole)
        for value in message.links:
            link = self.inline_link(entity, value)
            self.entities[link.path] = link
        if whole:
            kept = {n: v for n, v in entity.attributes.items() if "immutable" in entity.kind.attributes.get(n, "")}
            entity.attributes = kept
            entity.mixins = []
        entity.attributes |= message.attributes
        entity.mixins += [category for category in mixins if category not in entity.mixins]

    def delete(self, entity: Entity) -> None:
        for link in list(self.entities.values()):
            if entity.path in (link.source, link.target):
                self.entities.pop(link.path)
        self.entities.pop(entity.path, None)

    def act(self, entity: Entity, term: str, message: Message) -> None:
        if [value.head for value in message.categories] != [term]:
            raise Refusal(400, "the action's category is expected")
        action = self.find(message.categories[0].type_identifier)
        if action.id not in entity.kind.actions:
            raise Refusal(404, "no such action")
        states = self.actions(entity)
        if term not in states:
            raise Refusal(400, "not applicable now")
        if message.attributes.get("method", "graceful") not in METHODS:
            raise Refusal(400, "no such method")
        entity.attributes[f"occi.{entity.kind.term}.state"] = states[term]


FIELDS = ("category", "link", "x-occi-attribute", "x-occi-location")


def json_category(one: object, class_: str) -> Value:
    """A category in JSON: a type identifier, or a whole mixin."""
    if isinstance(one, dict):
        return Value(one["term"], {"scheme": one["scheme"], "location": one["location"]}, "")
    if not isinstance(one, str) or "#" not in one:
        raise Refusal(400, "no type identifier")
    scheme, _, term = one.rpartition("#")
    return Value(term, {"scheme": scheme + "#", "class": class_}, "")


def negotiate(accept: str) -> str:
    wishes = []
    for index, part in enumerate(accept.split(",") if accept else ["*/*"]):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        quality = next((float(p[2:]) for p in parameters if p.startswith("q=")), 1.0)
        wishes.append((-quality, index, name.lower()))
    for quality, _, name in sorted(wishes):
        pattern = re.escape(name).replace(r"\*", ".*")
        found = next((known for known in TYPES if re.fullmatch(pattern, known)), None)
        if found and quality < 0:
            return found
    raise Refusal(406, "none of those")


class Subject(HttpSubject[Cloud]):
    """The OCCI server, running."""

    def __init__(self) -> None:
        versions = "subject/1 OCCI/1.1 OCCI/1.2 OCCI-CRTP/1.1"
        super().__init__(Cloud, (("Server", versions), ("Accept", ", ".join(TYPES))))

"""The infrastructure extension: its kinds, mixins and templates, and states that are really reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from conformance.occi.reader import Value, quote, read
from conformance.occi.server import (
    ACTIONS,
    BOTH,
    CORE,
    INFRASTRUCTURE,
    OS_TEMPLATE,
    RESOURCE_TEMPLATE,
    V11,
    V12,
    Server,
    suite,
)
from conformance.suite import Exchange, Level, NotApplicable, expect, require

check = suite.check

IP_NETWORK = "http://schemas.ogf.org/occi/infrastructure/network#ipnetwork"
IP_INTERFACE = "http://schemas.ogf.org/occi/infrastructure/networkinterface#ipnetworkinterface"
SSH_KEY = "http://schemas.ogf.org/occi/infrastructure/credentials#ssh_key"
USER_DATA = "http://schemas.ogf.org/occi/infrastructure/compute#user_data"
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFakeKeyForConformanceChecksOnly00000000000 check"


@dataclass(frozen=True, slots=True)
class KindFacts:
    """What a version's tables say of a kind."""

    term: str
    clause: str
    versions: frozenset[str]
    attributes: tuple[str, ...]
    actions: tuple[str, ...] = ()
    parent: str = "resource"


KINDS = (
    KindFacts(
        "compute",
        "GFD.184 §3.1; GFD.224 §3.1",
        BOTH,
        ("architecture", "cores", "hostname", "memory", "state"),
        ("start", "stop", "restart", "suspend"),
    ),
    KindFacts("compute", "GFD.184 §3.1", V11, ("speed",)),
    KindFacts("compute", "GFD.224 §3.1", V12, ("share", "state.message"), ("save",)),
    KindFacts("network", "GFD.184 §3.2; GFD.224 §3.2", BOTH, ("vlan", "label", "state"), ("up", "down")),
    KindFacts("network", "GFD.224 §3.2", V12, ("state.message",)),
    KindFacts("storage", "GFD.184 §3.3; GFD.224 §3.3", BOTH, ("size", "state"), ("online", "offline")),
    KindFacts("storage", "GFD.184 §3.3", V11, (), ("backup", "snapshot", "resize")),
    KindFacts("storage", "GFD.224 §3.3", V12, ("state.message",)),
    KindFacts(
        "networkinterface",
        "GFD.184 §3.4.1; GFD.224 §3.4.1",
        BOTH,
        ("interface", "mac", "state"),
        parent="link",
    ),
    KindFacts(
        "storagelink",
        "GFD.184 §3.4.2; GFD.224 §3.4.2",
        BOTH,
        ("deviceid", "mountpoint", "state"),
        parent="link",
    ),
)


def attribute_names(category: Value) -> set[str]:
    return {word.partition("{")[0] for word in category.words("attributes")}


def holds(facts: KindFacts) -> Callable[[Server], None]:
    def run(server: Server) -> None:
        kind = server.kind(facts.term)
        answer = server.get("/-/")
        wanted = {f"occi.{facts.term}.{name}" for name in facts.attributes}
        missing = wanted - attribute_names(kind)
        require(not missing, f"the kind {facts.term} lacks {', '.join(sorted(missing))}", answer)
        actions = {ACTIONS.format(facts.term) + name for name in facts.actions}
        missing = actions - set(kind.words("actions"))
        require(not missing, f"the kind {facts.term} lacks {', '.join(sorted(missing))}", answer)
        parent = kind.parameters.get("rel")
        require(parent == CORE + facts.parent, f"{facts.term} is related to {parent}", answer)

    return run


for _facts in KINDS:
    _suffix = "" if _facts.versions == BOTH else f"-{min(_facts.versions)}"
    check(
        f"infrastructure/{_facts.term}-kind{_suffix}",
        _facts.clause,
        f"The kind {_facts.term} has the attributes and actions of its tables"
        + ("." if not _suffix else f" that OCCI {_suffix[1:]} alone has."),
        versions=_facts.versions,
    )(holds(_facts))


@check(
    "infrastructure/state-immutable",
    "GFD.184 §3; GFD.224 §3; GFD.185 §3.5.1",
    "The query interface marks every state attribute as immutable.",
)
def state_immutable(server: Server) -> None:
    for term in ("compute", "network", "storage", "networkinterface", "storagelink"):
        kind = server.find(INFRASTRUCTURE + term)
        if kind is None:
            continue
        text = kind.parameters.get("attributes", "")
        marked = text.partition(f"occi.{term}.state{{")[2].partition("}")[0].split()
        require("immutable" in marked, f"occi.{term}.state is not marked immutable", server.get("/-/"))


@check(
    "infrastructure/size-required",
    "GFD.184 §3.3; GFD.224 §3.3; GFD.185 §3.5.1",
    "The query interface marks occi.storage.size as required.",
)
def size_required(server: Server) -> None:
    required = server.required_attributes(server.kind("storage"))
    require("occi.storage.size" in required, "occi.storage.size is not marked required", server.get("/-/"))


@check(
    "infrastructure/action-methods",
    "GFD.184 §3.1; GFD.224 §3.1",
    "The actions stop, restart and suspend of compute have the attribute method.",
)
def action_methods(server: Server) -> None:
    server.kind("compute")
    for term in ("stop", "restart", "suspend"):
        action = server.find(ACTIONS.format("compute") + term)
        names = attribute_names(action) if action else set()
        require("method" in names, f"the action {term} lacks the attribute method", server.get("/-/"))


STATES = {
    "compute": {"active", "inactive", "suspended", "error"},
    "network": {"active", "inactive", "error"},
    "storage": {"online", "offline", "backup", "snapshot", "resize", "degraded", "error"},
}


@check(
    "infrastructure/states",
    "GFD.184 §3.1-3.3; GFD.224 §3.1-3.3",
    "Each compute, network and storage shows a state of its kind's enumeration.",
)
def states(server: Server) -> None:
    for term, known in STATES.items():
        if server.find(INFRASTRUCTURE + term):
            url = server.shared(term)
            state = server.state(url, term)
            require(state in known, f"occi.{term}.state is {state!r}, expected one of {sorted(known)}")


@check(
    "infrastructure/storage-size",
    "GFD.184 §3.3; GFD.224 §3.3",
    "A storage shows the size that it was made with, in GiB.",
)
def storage_size(server: Server) -> None:
    server.kind("storage")
    url = server.create("storage", ["occi.storage.size=2.0"])
    size = server.look(url).attributes.get("occi.storage.size", "")
    require(_number(size) == 2.0, f"occi.storage.size is {size!r}, expected 2.0")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@check(
    "infrastructure/hostname",
    "GFD.184 §3.1; GFD.224 §3.1",
    "A compute shows the hostname that it was made with.",
)
def hostname(server: Server) -> None:
    server.kind("compute")
    url = server.create("compute", ['occi.compute.hostname="checked"'])
    found = server.look(url).attributes.get("occi.compute.hostname")
    require(found == "checked", f"occi.compute.hostname is {found!r}, expected 'checked'")


@check(
    "infrastructure/vlan-range",
    "GFD.184 §3.2; GFD.224 §3.2",
    "A VLAN beyond 4095 is answered 400.",
    Level.SHOULD,
)
def vlan_range(server: Server) -> None:
    message = server.minimal("network")
    message = type(message)(message.categories, (), (*message.attributes, "occi.network.vlan=5000"))
    expect(server.send("POST", server.collection("network"), message), {400}, "the VLAN 5000")


# -- states and transitions ------------------------------------------------------------------------

WAYS: dict[str, dict[str, tuple[str, ...]]] = {
    "compute": {
        "active": ("start",),
        "inactive": ("stop", "start"),
        "suspended": ("suspend", "start"),
    },
    "network": {"active": ("up",), "inactive": ("down",)},
    "storage": {"online": ("online",), "offline": ("offline",)},
}


def transition(term: str, before: str, action: str, after: str) -> Callable[[Server], None]:
    def run(server: Server) -> None:
        kind = server.kind(term)
        if ACTIONS.format(term) + action not in kind.words("actions"):
            raise NotApplicable(f"the kind {term} has no action {action}")
        url = server.shared(term)
        server.bring(url, term, before, WAYS[term])
        server.wait_until(lambda: action in server.offered(url), f"{url}, {before}, offers {action}")
        expect(server.act(url, term, action), {200, 202}, f"{action} in state {before}")
        server.wait_until(lambda: server.state(url, term) == after, f"{url} is {after} after {action}")

    return run


TRANSITIONS = (
    ("compute", "inactive", "start", "active"),
    ("compute", "active", "restart", "active"),
    ("compute", "active", "suspend", "suspended"),
    ("compute", "suspended", "start", "active"),
    ("compute", "active", "stop", "inactive"),
    ("network", "active", "down", "inactive"),
    ("network", "inactive", "up", "active"),
    ("storage", "offline", "online", "online"),
    ("storage", "online", "offline", "offline"),
)
_SECTIONS = {"compute": "3.1", "network": "3.2", "storage": "3.3"}

for _term, _before, _action, _after in TRANSITIONS:
    check(
        f"infrastructure/{_term}-{_action}-{_before}",
        f"GFD.184 §{_SECTIONS[_term]}; GFD.224 §{_SECTIONS[_term]}",
        f"{_action} takes a {_term} from {_before} to {_after}.",
    )(transition(_term, _before, _action, _after))


@check(
    "infrastructure/action-with-method",
    "GFD.184 §3.1; GFD.224 §3.1",
    'stop with method="poweroff" takes a compute from active to inactive.',
)
def action_with_method(server: Server) -> None:
    server.kind("compute")
    url = server.shared("compute")
    server.bring(url, "compute", "active", WAYS["compute"])
    expect(server.act(url, "compute", "stop", ['method="poweroff"']), {200, 202}, "stop with poweroff")
    server.wait_until(lambda: server.state(url, "compute") == "inactive", f"{url} is inactive")


# -- links -----------------------------------------------------------------------------------------


@check(
    "infrastructure/interface-attributes",
    "GFD.184 §3.4.1; GFD.224 §3.4.1",
    "A networkinterface shows interface, mac and state.",
)
def interface_attributes(server: Server) -> None:
    server.kind("networkinterface")
    link = server.link("networkinterface", server.create("compute"), server.shared("network"))
    shows_all(server, link, [f"occi.networkinterface.{name}" for name in ("interface", "mac", "state")])


@check(
    "infrastructure/storagelink-attributes",
    "GFD.184 §3.4.2; GFD.224 §3.4.2",
    "A storagelink shows deviceid and state.",
)
def storagelink_attributes(server: Server) -> None:
    server.kind("storagelink")
    link = server.link("storagelink", server.create("compute"), server.create("storage"))
    shows_all(server, link, [f"occi.storagelink.{name}" for name in ("deviceid", "state")])


def shows_all(server: Server, url: str, names: list[str]) -> None:
    """Wait until an instance shows attributes that its provider may have to find out first."""

    def there() -> bool:
        attributes = server.look(url).attributes
        return all(attributes.get(name) for name in names)

    server.wait_until(there, f"{url} shows {', '.join(names)}")


# -- mixins ----------------------------------------------------------------------------------------


def mixin(server: Server, identifier: str, attributes: tuple[str, ...]) -> None:
    """Not applicable without the mixin; a failure if it lacks one of its attributes."""
    found = server.find(identifier)
    if found is None:
        raise NotApplicable(f"the server has no mixin {identifier}")
    missing = set(attributes) - attribute_names(found)
    require(not missing, f"{identifier} lacks {', '.join(sorted(missing))}", server.get("/-/"))


@check(
    "infrastructure/ipnetwork",
    "GFD.184 §3.2.1; GFD.224 §3.2.1",
    "A network with the mixin ipnetwork has address, gateway and allocation, and shows what it was given.",
)
def ipnetwork(server: Server) -> None:
    names = tuple(f"occi.network.{name}" for name in ("address", "gateway", "allocation"))
    mixin(server, IP_NETWORK, names)
    subnet = server.new_subnet()
    given = (f'occi.network.address="{subnet}.0/24"', f'occi.network.gateway="{subnet}.1"')
    url = server.create("network", [*given, 'occi.network.allocation="dynamic"'], [IP_NETWORK])
    rendering = server.look(url)
    require(IP_NETWORK in rendering.category_ids(), "the network doesn't show the mixin ipnetwork")
    found = rendering.attributes.get("occi.network.address")
    require(found == f"{subnet}.0/24", f"occi.network.address is {found!r}, expected '{subnet}.0/24'")


@check(
    "infrastructure/ipnetworkinterface",
    "GFD.184 §3.4.1.1; GFD.224 §3.4.1.1",
    "A networkinterface with the mixin ipnetworkinterface shows address and allocation.",
)
def ipnetworkinterface(server: Server) -> None:
    names = tuple(f"occi.networkinterface.{name}" for name in ("address", "gateway", "allocation"))
    mixin(server, IP_INTERFACE, names)
    mixins = [IP_NETWORK] if server.find(IP_NETWORK) else []
    attributes = [f'occi.network.address="{server.new_subnet()}.0/24"', 'occi.network.allocation="static"']
    network = server.create("network", attributes if mixins else [], mixins)
    compute = server.create("compute")
    given = [f"{name}={server.known_value(name)}" for name in (names[0], names[2])]
    ends = [f"occi.core.source={quote(compute)}", f"occi.core.target={quote(network)}"]
    link = server.create("networkinterface", [*ends, *given], [IP_INTERFACE])
    require(IP_INTERFACE in server.look(link).category_ids(), "the link doesn't show ipnetworkinterface")
    shows_all(server, link, [names[0], names[2]])


@check(
    "infrastructure/templates-related",
    "GFD.184 §3.5; GFD.224 §3.5",
    "os_tpl and resource_tpl are listed if any mixin depends on them, and offered templates depend on them.",
)
def templates_related(server: Server) -> None:
    bases = (OS_TEMPLATE, RESOURCE_TEMPLATE)
    for base in bases:
        if server.template(base):
            require(server.find(base), f"templates depend on {base}, which is not listed", server.get("/-/"))
    if not any(server.find(base) or server.template(base) for base in bases):
        raise NotApplicable("the server offers no templates")


@check(
    "infrastructure/os-template-offered",
    "GFD.184 §3.5.1; GFD.224 §3.5.1",
    "The server offers OS templates.",
    Level.SHOULD,
)
def os_template_offered(server: Server) -> None:
    server.kind("compute")
    require(server.template(OS_TEMPLATE), f"no mixin depends on {OS_TEMPLATE}", server.get("/-/"))


def template_shown(base: str) -> Callable[[Server], None]:
    def run(server: Server) -> None:
        template = server.template(base)
        if template is None:
            raise NotApplicable(f"no mixin depends on {base}")
        answer = server.look_at(server.shared("compute"))
        require(template in read(answer).category_ids(), f"the compute doesn't show {template}", answer)

    return run


check(
    "infrastructure/os-template",
    "GFD.184 §3.5.1; GFD.224 §3.5.1",
    "A compute made with an OS template shows it.",
)(template_shown(OS_TEMPLATE))
check(
    "infrastructure/resource-template",
    "GFD.184 §3.5.2; GFD.224 §3.5.2",
    "A compute made with a resource template shows it.",
)(template_shown(RESOURCE_TEMPLATE))


@check(
    "infrastructure/resource-template-sizes",
    "GFD.184 §3.5.2; GFD.224 §3.5.2",
    "A compute made with a resource template shows cores and memory.",
    Level.SHOULD,
)
def resource_template_sizes(server: Server) -> None:
    if server.template(RESOURCE_TEMPLATE) is None:
        raise NotApplicable("the server offers no resource templates")
    shows_all(server, server.shared("compute"), ["occi.compute.cores", "occi.compute.memory"])


def crtp(server: Server) -> dict[str, str]:
    found = {
        mixin.head: mixin.type_identifier
        for mixin in server.of_class("mixin")
        if "compute/template/1." in mixin.parameters.get("scheme", "")
    }
    if not found and "OCCI-CRTP" not in server.banner:
        raise NotApplicable("the server doesn't claim the resource template profile")
    return found


@check(
    "infrastructure/profile-sizes",
    "GFD.222 §2.1",
    "The resource template profile's small, medium and large are offered.",
)
def profile_sizes(server: Server) -> None:
    missing = {"small", "medium", "large"} - set(crtp(server))
    require(not missing, f"the profile lacks {', '.join(sorted(missing))}", server.get("/-/"))


@check(
    "infrastructure/profile-small",
    "GFD.222 §2.1",
    "A compute of the profile's size small has 1 core, 1 GiB of memory and 10 GiB of its own storage.",
)
def profile_small(server: Server) -> None:
    small = crtp(server).get("small", "")
    require(small, "the profile lacks small", server.get("/-/"))
    message = server.minimal("compute")
    url = server.shared("compute")
    if not any(value.startswith("small;") for value in message.categories):
        url = server.create("compute", mixins=[small])
    shown = server.look(url).attributes
    for name, wanted in (
        ("occi.compute.cores", 1.0),
        ("occi.compute.memory", 1.0),
        ("occi.compute.ephemeral_storage.size", 10.0),
    ):
        found = _number(shown.get(name, ""))
        require(found == wanted, f"{name} of a small compute is {shown.get(name)!r}, expected {wanted:g}")


@check(
    "infrastructure/ssh-key",
    "GFD.224 §3.5.2.1",
    "A compute takes the mixin ssh_key with its public key, and shows it.",
    versions=V12,
)
def ssh_key(server: Server) -> None:
    mixin(server, SSH_KEY, ("occi.credentials.ssh.publickey",))
    url = server.create("compute", [f"occi.credentials.ssh.publickey={quote(PUBLIC_KEY)}"], [SSH_KEY])
    require(SSH_KEY in server.look(url).category_ids(), "the compute doesn't show the mixin ssh_key")


@check(
    "infrastructure/ssh-key-without-key",
    "GFD.224 §3.5.2.1; GFD.221 §5.3.2",
    "The mixin ssh_key without a public key is answered 400.",
    versions=V12,
)
def ssh_key_without_key(server: Server) -> None:
    mixin(server, SSH_KEY, ("occi.credentials.ssh.publickey",))
    expect(with_mixin(server, SSH_KEY), {400}, "ssh_key without a key")


@check(
    "infrastructure/user-data",
    "GFD.224 §3.5.2.2",
    "A compute takes the mixin user_data with its data, and shows the mixin.",
    versions=V12,
)
def user_data(server: Server) -> None:
    mixin(server, USER_DATA, ("occi.compute.userdata",))
    data = quote("I2Nsb3VkLWNvbmZpZwo=")
    url = server.create("compute", [f"occi.compute.userdata={data}"], [USER_DATA])
    require(USER_DATA in server.look(url).category_ids(), "the compute doesn't show the mixin user_data")


def with_mixin(server: Server, identifier: str) -> Exchange:
    scheme, term = identifier.rsplit("#", 1)
    message = server.minimal("compute")
    value = f'{term}; scheme="{scheme}#"; class="mixin"'
    message = type(message)((*message.categories, value), (), message.attributes)
    return server.send("POST", server.collection("compute"), message)

"""One of each thing that OCCI describes, and hypothesis strategies for arbitrary ones."""

from hypothesis import strategies as st

from renderers.occi.representation import (
    Action,
    AttributeDefinition,
    AttributeValue,
    CategoryId,
    Kind,
    Link,
    LinkEnd,
    Mixin,
    Resource,
)

INFRASTRUCTURE = "http://schemas.ogf.org/occi/infrastructure#"
COMPUTE_ACTION = "http://schemas.ogf.org/occi/infrastructure/compute/action#"
COMPUTE = CategoryId(INFRASTRUCTURE, "compute")
NETWORK = CategoryId(INFRASTRUCTURE, "network")
INTERFACE = CategoryId(INFRASTRUCTURE, "networkinterface")
IP_INTERFACE = CategoryId("http://schemas.ogf.org/occi/infrastructure/networkinterface#", "ipnetworkinterface")
RESOURCE = CategoryId("http://schemas.ogf.org/occi/core#", "resource")
SMALL = CategoryId("http://cloud.example/occi/resource_tpl#", "small")
START = CategoryId(COMPUTE_ACTION, "start")
STOP = CategoryId(COMPUTE_ACTION, "stop")


def interface(number: int, title: str | None = None) -> Link:
    return Link(
        kind=INTERFACE,
        id=f"urn:uuid:00000000-0000-4000-8000-00000000000{number}",
        location=f"/networkinterface/{number}",
        source=LinkEnd("/compute/1", COMPUTE),
        target=LinkEnd(f"/network/{number}", NETWORK),
        title=title,
        mixins=(IP_INTERFACE,),
        attributes={
            "occi.networkinterface.interface": f"eth{number}",
            "occi.networkinterface.mac": "52:54:00:00:00:01",
            "occi.networkinterface.state": "active",
            "occi.networkinterface.address": "10.0.0.2",
        },
    )


MACHINE = Resource(
    kind=COMPUTE,
    id="urn:uuid:996ad860-2a9a-504f-8861-aeafd0b2ae29",
    location="/compute/1",
    title='web; "front", tier=1',
    summary="first line\nsecond line",
    mixins=(SMALL,),
    attributes={
        "occi.compute.cores": 2,
        "occi.compute.memory": 2.0,
        "occi.compute.architecture": "x64",
        "occi.compute.state": "active",
        "com.example.watched": True,
        "com.example.ratio": 1e-7,
    },
    actions=(STOP,),
    links=(interface(1, "uplink"), interface(2)),
)

COMPUTE_KIND = Kind(
    id=COMPUTE,
    title="Compute Resource",
    parent=RESOURCE,
    attributes=(
        AttributeDefinition("occi.compute.cores", "number", default=1, pattern={"type": "integer", "minimum": 1}),
        AttributeDefinition("occi.compute.state", mutable=False, required=True, description="How it is"),
    ),
    actions=(START, STOP),
    location="/compute/",
)
SMALL_MIXIN = Mixin(
    id=SMALL,
    title="Small; 1 core",
    depends=(CategoryId(INFRASTRUCTURE, "resource_tpl"), CategoryId("http://cloud.example/occi#", "other")),
    applies=(COMPUTE,),
    location="/mixin/small/",
)
STOP_ACTION = Action(id=STOP, title="Stop", attributes=(AttributeDefinition("method"),))
MODEL = (COMPUTE_KIND, SMALL_MIXIN, STOP_ACTION)

TEXT = st.text(max_size=60)
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
FLAT_VALUES = TEXT | NUMBERS | st.booleans()
VALUES: st.SearchStrategy[AttributeValue] = st.recursive(
    FLAT_VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,6}\.[A-Za-z0-9_.-]{1,12}", fullmatch=True)


def resources(values: st.SearchStrategy[AttributeValue]) -> st.SearchStrategy[Resource]:
    """Machines with arbitrary words and attributes, and a link with the same."""

    def build(title: str | None, summary: str | None, attributes: dict[str, AttributeValue]) -> Resource:
        link = Link(
            INTERFACE,
            "urn:1",
            "/networkinterface/1",
            LinkEnd("/compute/1"),
            LinkEnd("/network/1", NETWORK),
            title=title,
            attributes=attributes,
        )
        return Resource(
            COMPUTE, "urn:2", "/compute/1", title, summary, attributes=attributes, links=(link,), actions=(STOP,)
        )

    names = NAMES.filter(lambda name: not name.startswith("occi.core."))
    words = st.none() | TEXT
    return st.builds(build, words, words, st.dictionaries(names, values, max_size=6))

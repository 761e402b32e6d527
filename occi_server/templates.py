"""The templates that a provider offers (os_tpl from images, resource_tpl from sizes) and its console kind.

Images come and go with the database, so a template of an image is made from its name alone where that is all there is
to know; sizes are settled when the application starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from backends.model import Disk, Image, Machine, Size
from occi_server import names, values
from occi_server.entities import Attribute, MixinType
from occi_server.site import Site
from renderers.occi.representation import AttributeDefinition, AttributeValue, CategoryId, Mixin

GIB = values.BYTES_PER_GIBIBYTE
PROFILE = {
    "small": (1, 1024, 10 * GIB),
    "medium": (2, 2048, 20 * GIB),
    "large": (4, 4096, 40 * GIB),
    "mem_small": (1, 4096, 10 * GIB),
    "mem_medium": (2, 8192, 20 * GIB),
    "mem_large": (4, 16384, 40 * GIB),
}
"""GFD.222 §2: only a size that is what the profile says may carry the profile's name."""

EPHEMERAL_SIZE: Attribute[Machine] = Attribute(
    "occi.compute.ephemeral_storage.size",
    values.gibibytes(GIB, 1 << 20),
    lambda machine: None if machine.root_size_bytes is None else machine.root_size_bytes / GIB,
    "root_size_bytes",
    mutable=False,
    at_creation=True,
    description="Size of the root disk in GiB",
)

MADE_FROM_IMAGES = (names.COMPUTE, names.STORAGE)
OS_BASE: MixinType[Any] = MixinType(
    Mixin(names.OS_TEMPLATE, "Operating system template", applies=MADE_FROM_IMAGES, location="/os_tpl/"),
    carried_by=lambda row: row.image_name is not None,
    shown=False,
)
RESOURCE_BASE: MixinType[Machine] = MixinType(
    Mixin(names.RESOURCE_TEMPLATE, "Resource template", applies=(names.COMPUTE,), location="/resource_tpl/"),
    (EPHEMERAL_SIZE,),
    carried_by=lambda machine: machine.size_name is not None,
    shown=False,
)


@dataclass(frozen=True, slots=True)
class Templates:
    """A provider's templates; `size_ids` maps a size's name to its category."""

    os_scheme: str
    sizes: tuple[MixinType[Any], ...]
    size_ids: dict[str, CategoryId]
    console_kind: CategoryId
    console_target: CategoryId
    console_log_target: CategoryId
    console_password: AttributeDefinition

    def of_machine(self, machine: Machine) -> tuple[CategoryId, ...]:
        image, size = machine.image_name, machine.size_name
        if size is not None and (size_id := self.size_ids.get(size)) is not None:
            return (size_id,) if image is None else (CategoryId(self.os_scheme, image), size_id)
        return () if image is None else (CategoryId(self.os_scheme, image),)

    def attributes_of(self, machine: Machine) -> dict[str, AttributeValue]:
        if machine.root_size_bytes is None or machine.size_name not in self.size_ids:
            return {}
        return {EPHEMERAL_SIZE.name: machine.root_size_bytes / GIB}

    def of_disk(self, disk: Disk) -> tuple[CategoryId, ...]:
        return () if disk.image_name is None else (CategoryId(self.os_scheme, disk.image_name),)

    def of_image(self, name: str, title: str = "") -> MixinType[Any]:
        return MixinType(
            Mixin(
                CategoryId(self.os_scheme, name),
                title or name,
                depends=(names.OS_TEMPLATE,),
                applies=MADE_FROM_IMAGES,
                location=f"/os_tpl/{name}/",
            ),
            carried_by=lambda row: row.image_name == name,
            equals={"image_name": name},
            fields={"image_name": name},
            shown=False,
        )

    def discovered(self, image: Image) -> Mixin:
        return self.of_image(image.name, image.title).mixin


def templates_of(site: Site) -> Templates:
    sizes = tuple(_size_template(site, size) for size in site.sizes)
    return Templates(
        os_scheme=f"{site.scheme_prefix}os_tpl#",
        sizes=(OS_BASE, RESOURCE_BASE, *sizes),
        size_ids={size.name: template.mixin.id for size, template in zip(site.sizes, sizes, strict=True)},
        console_kind=CategoryId(f"{site.scheme_prefix}infrastructure#", "consolelink"),
        console_target=CategoryId(f"{site.scheme_prefix}infrastructure#", "vnc"),
        console_log_target=CategoryId(f"{site.scheme_prefix}infrastructure#", "console_log"),
        console_password=AttributeDefinition(
            f"{site.attribute_prefix}.vnc.password", mutable=False, description="Of the display; new at each start"
        ),
    )


def _size_template(site: Site, size: Size) -> MixinType[Machine]:
    profiled = PROFILE.get(size.name) == (size.cores, size.memory_mib, size.root_size_bytes)
    scheme = names.TEMPLATE_PROFILE if profiled else f"{site.scheme_prefix}resource_tpl#"
    return MixinType(
        Mixin(
            CategoryId(scheme, size.name),
            size.title,
            depends=(names.RESOURCE_TEMPLATE,),
            applies=(names.COMPUTE,),
            attributes=(
                AttributeDefinition("occi.compute.cores", "number", default=size.cores),
                AttributeDefinition(
                    "occi.compute.memory", "number", default=size.memory_mib / values.MEBIBYTES_PER_GIBIBYTE
                ),
                AttributeDefinition(EPHEMERAL_SIZE.name, "number", mutable=False, default=size.root_size_bytes / GIB),
            ),
            location=f"/resource_tpl/{size.name}/",
        ),
        (EPHEMERAL_SIZE,),
        carried_by=lambda machine: machine.size_name == size.name,
        equals={"size_name": size.name},
        fields={"size_name": size.name},
        shown=False,
    )

"""What a storage can be asked for beyond the standard: the pool that has it, and that nobody writes to it."""

from __future__ import annotations

from backends.model import Disk, Pool
from occi_server import names, values
from occi_server.entities import Attribute, MixinType
from occi_server.site import Site
from renderers.occi.representation import CategoryId, Mixin

TITLES = {
    Pool.FILE: "Storage beside the computes of one host",
    Pool.SHARED: "Storage in a folder that the hosts of computes share",
    Pool.ISCSI: "Storage that is served to the computes of all hosts",
}


def storage_options(site: Site) -> tuple[MixinType[Disk], ...]:
    """A mixin for each pool, of which one is named at the creation, and the one of disks that are read only."""
    read_only: Attribute[Disk] = Attribute(
        f"{site.attribute_prefix}.storage.readonly",
        values.boolean(),
        lambda disk: disk.read_only,
        "read_only",
        required=True,
        description="Whether nobody may write to it, so that it can be linked to many computes",
    )
    return (
        *(_of_pool(site, pool) for pool in Pool),
        MixinType(
            Mixin(
                CategoryId(f"{site.scheme_prefix}storage#", "readonly"),
                "Storage that many computes only read",
                applies=(names.STORAGE,),
                attributes=(read_only.definition(),),
                location="/mixin/readonly/",
            ),
            (read_only,),
            carried_by=lambda disk: disk.read_only,
            equals={"read_only": True},
        ),
    )


def _of_pool(site: Site, pool: Pool) -> MixinType[Disk]:
    return MixinType(
        Mixin(
            CategoryId(f"{site.scheme_prefix}storage_tpl#", pool.value),
            TITLES[pool],
            applies=(names.STORAGE,),
            location=f"/storage_tpl/{pool.value}/",
        ),
        carried_by=lambda disk: disk.pool is pool,
        equals={"pool": pool},
        fields={"pool": pool},
    )

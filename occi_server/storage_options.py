"""What a storage can be asked for beyond the standard: the pool or host that has it, that nobody writes to it, and that
it ends with its compute."""

from __future__ import annotations

import re

import falcon

from backends.cloud import Cloud
from backends.model import Disk, Pool
from occi_server import names, values
from occi_server.entities import Attribute, MixinType
from occi_server.site import Site
from renderers.occi.representation import CategoryId, Mixin

TERM = re.compile(r"[a-z][a-z0-9_.-]{0,254}")
TITLES = {
    Pool.FILE: "Storage beside the computes of one host",
    Pool.SHARED: "Storage in a folder that the hosts of computes share",
    Pool.ISCSI: "Storage that is served to the computes of all hosts",
}


def storage_options(site: Site) -> tuple[MixinType[Disk], ...]:
    """A mixin for each pool, of which one is named at the creation, those of disks that are read only, and volatile."""
    return (
        *(_of_pool(site, pool) for pool in Pool),
        _said_of_it(
            site,
            "readonly",
            "read_only",
            "Storage that many computes only read",
            "Whether nobody may write to it, so that it can be linked to many computes",
        ),
        _said_of_it(
            site,
            "volatile",
            "volatile",
            "Storage that ends with its compute",
            "Whether it is deleted with the compute that it is linked to then",
        ),
    )


def _said_of_it(site: Site, term: str, field: str, title: str, description: str) -> MixinType[Disk]:
    """By an attribute that is true or false."""
    attribute: Attribute[Disk] = Attribute(
        f"{site.attribute_prefix}.storage.{term}",
        values.boolean(),
        lambda disk: bool(getattr(disk, field)),
        field,
        required=True,
        description=description,
    )
    return MixinType(
        Mixin(
            CategoryId(f"{site.scheme_prefix}storage#", term),
            title,
            applies=(names.STORAGE,),
            attributes=(attribute.definition(),),
            location=f"/mixin/{term}/",
        ),
        (attribute,),
        carried_by=lambda disk: bool(getattr(disk, field)),
        equals={field: True},
    )


def scheme(site: Site) -> str:
    """Of pools and storage hosts."""
    return f"{site.scheme_prefix}storage_tpl#"


def absent_pools(site: Site, cloud: Cloud) -> set[CategoryId]:
    """The mixins of pools that this cloud hasn't got."""
    return {CategoryId(scheme(site), pool.value) for pool in set(Pool) - cloud.pools()}


def storage_hosts(site: Site, cloud: Cloud) -> tuple[Mixin, ...]:
    return tuple(_of_host(site, name).mixin for name in cloud.storage_hosts() if _is_term(name))


def host_named(site: Site, cloud: Cloud, term: str) -> MixinType[Disk]:
    if not _is_term(term) or term not in cloud.storage_hosts():
        raise falcon.HTTPNotFound(description=f"There is no storage_tpl {term[:80]!r}.")
    return _of_host(site, term)


def host_of_disk(site: Site, disk: Disk) -> tuple[CategoryId, ...]:
    """The mixin of its storage host."""
    if disk.pool is not Pool.ISCSI or disk.host is None or not _is_term(disk.host):
        return ()
    return (CategoryId(scheme(site), disk.host),)


def _is_term(name: str) -> bool:
    """Whether a mixin can be called so, and none is already."""
    return TERM.fullmatch(name) is not None and name not in list(Pool)


def _of_host(site: Site, name: str) -> MixinType[Disk]:
    return MixinType(
        Mixin(
            CategoryId(scheme(site), name),
            f"Storage that {name} serves",
            depends=(CategoryId(scheme(site), Pool.ISCSI.value),),
            applies=(names.STORAGE,),
            location=f"/storage_tpl/{name}/",
        ),
        carried_by=lambda disk: disk.pool is Pool.ISCSI and disk.host == name,
        equals={"pool": Pool.ISCSI, "host": name},
        fields={"pool": Pool.ISCSI, "host": name},
    )


def _of_pool(site: Site, pool: Pool) -> MixinType[Disk]:
    return MixinType(
        Mixin(
            CategoryId(scheme(site), pool.value),
            TITLES[pool],
            applies=(names.STORAGE,),
            location=f"/storage_tpl/{pool.value}/",
        ),
        carried_by=lambda disk: disk.pool is pool,
        equals={"pool": pool},
        fields={"pool": pool},
    )

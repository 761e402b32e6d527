"""The settings: a TOML file, overridden by ALTOSTRATUS_… in the environment; wrong ones are refused by name."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from altostratus.postgres import PrivateCluster
from backends.errors import Invalid
from backends.model import BANDWIDTH_MAX_KBIT_S, BANDWIDTH_MIN_KBIT_S, NetworkClass, Size
from backends.networks.addresses import parse_subnet, parse_subnet6
from backends.networks.spec import LAST_VLAN, Wiring
from backends.terms import check_term

PREFIX = "ALTOSTRATUS_"
CONFIG_VARIABLE = "ALTOSTRATUS_CONFIG"
DEFAULT_CONFIG = Path("/etc/altostratus/altostratus.toml")
GIB = 2**30
_LVM_NAME = r"[A-Za-z0-9+_.][A-Za-z0-9+_.-]*"
THIN_POOL = re.compile(rf"{_LVM_NAME}/{_LVM_NAME}")


class SettingsError(Exception):
    """What is wrong, setting by setting."""


class SizeSettings(BaseModel):
    """One resource template of the site's own: `[sizes.NAME]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = ""
    cores: Annotated[int, Field(ge=1, le=255)]
    memory_gib: Annotated[float, Field(gt=0, le=16384)]
    disk_gib: Annotated[float, Field(gt=0, le=2**20)]
    max_cores: Annotated[int, Field(ge=1, le=255)] | None = None

    @model_validator(mode="after")
    def _max_is_no_less(self) -> Self:
        if self.max_cores is not None and self.max_cores < self.cores:
            raise ValueError(f"max_cores is {self.max_cores}, less than its {self.cores} cores")
        return self


@dataclass(frozen=True, slots=True)
class SiteNetwork:
    """A network that the settings make."""

    network_class: NetworkClass
    title: str
    summary: str
    cidr: str
    cidr6: str


def vlan_ranges(text: str) -> tuple[tuple[int, int], ...]:
    """`100-199,300` as first and last; ValueError for anything else."""
    ranges = []
    for part in text.split(",") if text else []:
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or not (last or first).isdecimal() or (dash and not last):
            raise ValueError("it must be VLANs such as 100-199,300")
        ends = int(first), int(last or first)
        if not 1 <= ends[0] <= ends[1] <= LAST_VLAN:
            raise ValueError(f"it must be VLANs from 1 to {LAST_VLAN}")
        ranges.append(ends)
    return tuple(ranges)


class Settings(BaseSettings):
    """Each field's description is its documentation, printed by `altostratus settings`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, env_nested_delimiter="__")

    state: Path = Field(Path("/var/lib/altostratus"), description="the folder of everything that must last")
    listen: str = Field("127.0.0.1:8787", description="HOST:PORT that the gateway answers on")
    workers: int = Field(2, ge=1, le=256, description="processes that answer requests")
    threads: int = Field(8, ge=1, le=256, description="requests that one worker takes at a time")
    request_s: float = Field(
        60, gt=0, le=3600, description="what a client has to send a request, and again to take the answer"
    )
    user: str = Field("altostratus", description="the system user of the workers and of the private PostgreSQL")
    database: str = Field("", description="a PostgreSQL to use, as libpq says it; empty: a private one is run")
    host_name: str = Field(default_factory=socket.gethostname, description="this host's name in the cloud")
    libvirt_uri: str = Field("qemu:///system", description="the libvirt that runs this host's domains")
    domain_type: Literal["auto", "kvm", "qemu"] = Field(
        "auto", description="kvm or qemu; auto is kvm only where a probe has really run a guest under it"
    )
    pool: Literal["file", "iscsi"] = Field(
        "file", description="iscsi makes this a storage host: its agent serves disks to the others and runs no machine"
    )
    shared_pool: str = Field(
        "",
        description="a folder that other hosts mount too, for disks that all of them reach; empty: none",
    )
    iscsi_listen: str = Field("0.0.0.0:3260", description="ADDRESS:PORT that a storage host's targets listen on")
    iscsi_portal: str = Field("", description="ADDRESS:PORT at which the others reach them; a storage host needs it")
    iscsi_thin_pool: str = Field(
        "",
        description="GROUP/POOL, the LVM thin pool that has a storage host's disks; empty: files in its state folder",
    )
    cores_overcommit: float = Field(4.0, gt=0, le=64, description="virtual cores offered per core of the host")
    memory_reserve_mib: int = Field(512, ge=0, description="memory of the host that machines never get")
    disk_overcommit: float = Field(4.0, gt=0, le=1000, description="virtual bytes offered per byte of the pool")
    graceful_stop_s: float = Field(60, gt=0, le=3600, description="what a guest has to obey the power button")
    sweep_s: float = Field(60, gt=0, le=86400, description="how often the agent looks at everything")
    shared_network: str = Field("10.130.0.0/16", description="the IPv4 range of the network that all share")
    shared_network6: str = Field("", description="an IPv6 /64 that it has besides, such as fd00:130::/64; empty: none")
    shared_network6_nat: bool = Field(
        True, description="guests appear outside under the host's IPv6 address; false: their own, which is routed here"
    )
    private_network: str = Field(
        "", description="the IPv4 range of a network that is each host's own, out through its NAT; empty: none"
    )
    private_network6: str = Field("", description="an IPv6 /64 that it has besides")
    public_network: str = Field(
        "",
        description="the site's IPv4 range for machines that everybody may reach; empty: none",
    )
    public_network6: str = Field("", description="an IPv6 /64 of the site's besides")
    public_uplink: str = Field("", description="this host's link on which those addresses are asked for")
    vlan_uplink: str = Field("", description="this host's link for tagged frames, which it needs for nothing else")
    vlans: str = Field("", description="the VLANs on it that users may have, such as 100-199,300; empty: none")
    tunnel_network: str = Field(
        "",
        description="the IPv4 network of the cloud's hosts alone, over which networks reach; empty: none does",
    )
    bandwidth_max_kbit_s: int = Field(
        0,
        ge=0,
        le=BANDWIDTH_MAX_KBIT_S,
        description="what an interface made from now on receives, and sends, at most, in kbit/s; 0: no limit",
    )
    occi_scheme: str = Field(
        "http://altostratus.local/occi/", description="the start of the site's own category schemes"
    )
    default_size: str = Field("small", description="the resource template of who asks for none")
    sizes: dict[str, SizeSettings] = Field(default_factory=dict, description="resource templates of the site's own")
    cdmi_enterprise_number: int = Field(
        32473, ge=1, le=2**24 - 1, description="the SNMP enterprise number in CDMI's object IDs; never change it"
    )
    cdmi_region: str = Field(
        "", description="the ISO 3166 code of where this site keeps its data, for cdmi_geographic_placement"
    )
    password_cache_s: float = Field(60, ge=0, le=3600, description="how long a verified password is remembered")
    log_format: Literal["auto", "json", "text"] = Field("auto", description="auto is text on a terminal, else JSON")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="the least that is logged")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        path = Path(os.environ.get(CONFIG_VARIABLE, DEFAULT_CONFIG))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, path)

    @field_validator("state")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if not value.is_absolute():
            raise ValueError("it must be a whole path that begins with '/'")
        return value

    @field_validator("listen", "iscsi_listen")
    @classmethod
    def _address(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError("it must be HOST:PORT, such as 127.0.0.1:8787")
        return value

    @field_validator("iscsi_portal")
    @classmethod
    def _portal(cls, value: str) -> str:
        return cls._address(value) if value else value

    @field_validator("shared_pool")
    @classmethod
    def _whole_path(cls, value: str) -> str:
        return str(cls._absolute(Path(value))) if value else value

    @field_validator("iscsi_thin_pool")
    @classmethod
    def _thin_pool(cls, value: str) -> str:
        if value and not THIN_POOL.fullmatch(value):
            raise ValueError("it must be GROUP/POOL, as lvs names them")
        return value

    @field_validator("shared_network", "private_network", "public_network", "tunnel_network")
    @classmethod
    def _subnet(cls, value: str, info: ValidationInfo) -> str:
        try:
            return str(parse_subnet(value)) if value or info.field_name == "shared_network" else value
        except Invalid as error:
            raise ValueError(error.message) from None

    @field_validator("vlans")
    @classmethod
    def _ranges(cls, value: str) -> str:
        vlan_ranges(value)
        return value

    @field_validator("shared_network6", "private_network6", "public_network6")
    @classmethod
    def _subnet6(cls, value: str) -> str:
        try:
            return str(parse_subnet6(value)) if value else value
        except Invalid as error:
            raise ValueError(error.message) from None

    @field_validator("bandwidth_max_kbit_s")
    @classmethod
    def _bandwidth(cls, value: int) -> int:
        if 0 < value < BANDWIDTH_MIN_KBIT_S:
            raise ValueError(f"it must be 0 or at least {BANDWIDTH_MIN_KBIT_S}")
        return value

    @field_validator("occi_scheme")
    @classmethod
    def _scheme(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")) or not value.endswith("/"):
            raise ValueError("it must be an http URL that ends in '/'")
        if value.startswith("http://schemas.ogf.org/"):
            raise ValueError("schemas.ogf.org belongs to the standard; take a domain of the site's own")
        return value

    @field_validator("cdmi_region")
    @classmethod
    def _region(cls, value: str) -> str:
        if value and not re.fullmatch(r"[A-Z]{2}(-[A-Z0-9]{1,3})?", value):
            raise ValueError("it must be a code of ISO 3166, such as CH or US-CA")
        return value

    @field_validator("sizes")
    @classmethod
    def _terms(cls, value: dict[str, SizeSettings]) -> dict[str, SizeSettings]:
        for name in value:
            try:
                check_term("the size's name", name)
            except Invalid as error:
                raise ValueError(error.message) from None
        return value

    @model_validator(mode="after")
    def _uplinks_are_named(self) -> Self:
        for network, uplink in (("public_network", "public_uplink"), ("vlans", "vlan_uplink")):
            if getattr(self, network) and not getattr(self, uplink):
                raise ValueError(
                    f"{network} is {getattr(self, network)}, but {uplink} names no link of this host that has it:"
                    " expected both, or neither where the host has none"
                )
        return self

    @property
    def cluster(self) -> PrivateCluster:
        return PrivateCluster(self.state / "postgres", self.user)

    @property
    def conninfo(self) -> str:
        return self.database or self.cluster.conninfo

    @property
    def metrics_folder(self) -> Path:
        """Where workers leave their counters for each other; made empty at each start."""
        return self.state / "run" / "metrics"

    @property
    def values_folder(self) -> Path:
        """The values of large stored objects; the workers' own."""
        return self.state / "values"

    @property
    def opened_folder(self) -> Path:
        """The bytes of disks that the agent has opened for the workers of this host."""
        return self.state / "opened"

    @property
    def wiring(self) -> Wiring:
        return Wiring(self.public_uplink, self.vlan_uplink, vlan_ranges(self.vlans), self.tunnel_network)

    @property
    def site_networks(self) -> list[SiteNetwork]:
        known = (
            SiteNetwork(
                NetworkClass.LOCAL,
                "shared",
                "Every compute may join; out to the world through NAT",
                self.shared_network,
                self.shared_network6,
            ),
            SiteNetwork(
                NetworkClass.PRIVATE,
                "private",
                "Every compute may join; those of one host reach each other; out through its NAT",
                self.private_network,
                self.private_network6,
            ),
            SiteNetwork(
                NetworkClass.PUBLIC,
                "public",
                "Every compute may join, and everybody reach it there",
                self.public_network,
                self.public_network6,
            ),
        )
        return [network for network in known if network.cidr]

    @property
    def url(self) -> str:
        return f"http://{self.listen}"

    @property
    def all_sizes(self) -> dict[str, Size]:
        """GFD.222's sizes and the site's own, which may replace them."""
        sizes = {size.name: size for size in STANDARD_SIZES}
        for name, own in self.sizes.items():
            memory_mib, root_bytes = round(own.memory_gib * 1024), round(own.disk_gib * GIB)
            sizes[name] = Size(name, own.title or name, own.cores, memory_mib, root_bytes, own.max_cores)
        return sizes


STANDARD_SIZES = (
    Size("small", "Small: 1 core, 1 GiB, 10 GiB", 1, 1024, 10 * GIB),
    Size("medium", "Medium: 2 cores, 2 GiB, 20 GiB", 2, 2048, 20 * GIB),
    Size("large", "Large: 4 cores, 4 GiB, 40 GiB", 4, 4096, 40 * GIB),
    Size("mem_small", "Memory small: 1 core, 4 GiB, 10 GiB", 1, 4096, 10 * GIB),
    Size("mem_medium", "Memory medium: 2 cores, 8 GiB, 20 GiB", 2, 8192, 20 * GIB),
    Size("mem_large", "Memory large: 4 cores, 16 GiB, 40 GiB", 4, 16384, 40 * GIB),
)


def load() -> Settings:
    """`SettingsError` names each wrong setting, its value and the reason."""
    path = os.environ.get(CONFIG_VARIABLE)
    if path is not None and not Path(path).is_file():
        raise SettingsError(f"{CONFIG_VARIABLE} is {path!r}, but there is no such file")
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {CONFIG_VARIABLE}
    unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and name.partition("__")[0] not in known)
    if unknown:
        raise SettingsError(f"{', '.join(unknown)} in the environment: there is no such setting")
    try:
        settings = Settings()  # type: ignore[call-arg]
    except ValidationError as error:
        raise SettingsError("\n".join(map(_reason, error.errors(include_url=False)))) from None
    except ValueError as error:
        raise SettingsError(f"{path or DEFAULT_CONFIG} is not TOML: {error}") from None
    if settings.pool == "iscsi" and not settings.iscsi_portal:
        raise SettingsError("pool is 'iscsi', so iscsi_portal must say at which ADDRESS:PORT others reach this host")
    if settings.default_size not in settings.all_sizes:
        raise SettingsError(f"default_size is {settings.default_size!r}; there are {', '.join(settings.all_sizes)}")
    return settings


EXPECTED = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text in quotes",
    "path_type": "a path in quotes",
    "dict_type": "a table",
    "model_type": "a table",
    "literal_error": "{expected}",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than_equal": "at most {le:g}",
}
"""What was expected, by pydantic's types of errors; the braces are of its context."""


def _reason(error: ErrorDetails) -> str:
    name = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"{name}: there is no such setting"
    if error["type"] == "missing":
        return f"{name} is missing"
    expected = EXPECTED.get(error["type"])
    if expected is not None:
        return f"{name} is {error['input']!r}: expected {expected.format(**error.get('ctx', {}))}"
    return f"{name} is {error['input']!r}: {str(error['msg']).removeprefix('Value error, ')}"

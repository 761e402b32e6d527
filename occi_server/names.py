"""The identifiers that the standards, and the tools in use, give to categories: nothing here is a choice of ours
but what stands at the end, our additions for what the standards can't say.

What the categories consist of is in `model` and in the module of each kind.
"""

from __future__ import annotations

from renderers.occi.representation import CategoryId

CORE = "http://schemas.ogf.org/occi/core#"
INFRASTRUCTURE = "http://schemas.ogf.org/occi/infrastructure#"
COMPUTE_ACTION = "http://schemas.ogf.org/occi/infrastructure/compute/action#"
NETWORK_ACTION = "http://schemas.ogf.org/occi/infrastructure/network/action#"
STORAGE_ACTION = "http://schemas.ogf.org/occi/infrastructure/storage/action#"
TEMPLATE_PROFILE = "http://schemas.ogf.org/occi/infrastructure/compute/template/1.1#"

ENTITY = CategoryId(CORE, "entity")
RESOURCE = CategoryId(CORE, "resource")
LINK = CategoryId(CORE, "link")

COMPUTE = CategoryId(INFRASTRUCTURE, "compute")
NETWORK = CategoryId(INFRASTRUCTURE, "network")
STORAGE = CategoryId(INFRASTRUCTURE, "storage")
NETWORK_INTERFACE = CategoryId(INFRASTRUCTURE, "networkinterface")
STORAGE_LINK = CategoryId(INFRASTRUCTURE, "storagelink")
IP_RESERVATION = CategoryId(INFRASTRUCTURE, "ipreservation")
SECURITY_GROUP = CategoryId(INFRASTRUCTURE, "securitygroup")
SECURITY_GROUP_LINK = CategoryId(INFRASTRUCTURE, "securitygrouplink")

OS_TEMPLATE = CategoryId(INFRASTRUCTURE, "os_tpl")
RESOURCE_TEMPLATE = CategoryId(INFRASTRUCTURE, "resource_tpl")
IP_NETWORK = CategoryId("http://schemas.ogf.org/occi/infrastructure/network#", "ipnetwork")
EGI_NETWORK = "http://schemas.fedcloud.egi.eu/occi/infrastructure/network#"
IP_NETWORK_INTERFACE = CategoryId("http://schemas.ogf.org/occi/infrastructure/networkinterface#", "ipnetworkinterface")
SSH_KEY = CategoryId("http://schemas.ogf.org/occi/infrastructure/credentials#", "ssh_key")
USER_DATA = CategoryId("http://schemas.ogf.org/occi/infrastructure/compute#", "user_data")

OPENSTACK_PUBLIC_KEY = CategoryId("http://schemas.openstack.org/instance/credentials#", "public_key")
OPENSTACK_USER_DATA = CategoryId("http://schemas.openstack.org/compute/instance#", "user_data")
POOL = CategoryId("http://schemas.openstack.org/network#", "floatingippool")
POOLS = "http://schemas.openstack.org/network/floatingippool#"

OWN_SCHEME = "http://altostratus.local/occi/infrastructure"
OWN_ATTRIBUTES = "local.altostratus"
"""The same at every site: clients may rely on them. A site's own templates have the site's own scheme."""
IPV6_NETWORK = CategoryId(f"{OWN_SCHEME}/network#", "ipv6network")
IPV6_RESERVATION = CategoryId(f"{OWN_SCHEME}/ipreservation#", "ipv6reservation")
IPV6_NETWORK_INTERFACE = CategoryId(f"{OWN_SCHEME}/networkinterface#", "ipv6networkinterface")
BANDWIDTH = CategoryId(f"{OWN_SCHEME}/networkinterface#", "bandwidth")
TRAFFIC = CategoryId(f"{OWN_SCHEME}/networkinterface#", "traffic")

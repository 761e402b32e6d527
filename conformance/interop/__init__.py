"""The suite for the clauses in which OCCI and CDMI meet: a container of CDMI that is a disk of OCCI's computes.

CDMI 1.1.1 §13.1, §13.6 and 2.0 §13.7; OCCI Infrastructure §3.4.3 (GFD.184, GFD.224). Importing this package registers
all checks; the order in which they run stands in `server.AREAS`.
"""

from conformance.interop import disks, permissions, removal, snapshots
from conformance.interop.server import suite

__all__ = ["disks", "permissions", "removal", "snapshots", "suite"]

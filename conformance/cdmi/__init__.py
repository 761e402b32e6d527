"""The CDMI suite: SNIA's CDMI 1.1.1 (ISO/IEC 17826:2016) and 2.0 (ISO/IEC 17826:2022), a module for each area.

Importing this package registers all checks; the order in which they run stands in `server.AREAS`.
"""

from conformance.cdmi import (
    access,
    capabilities,
    containers,
    copies,
    data,
    domains,
    exports,
    http,
    ids,
    media,
    metadata,
    multipart,
    names,
    partial,
    post,
    queues,
    ranges,
    references,
    retention,
    serialization,
    snapshots,
    times,
    versions,
)
from conformance.cdmi.server import suite

__all__ = [
    "access",
    "capabilities",
    "containers",
    "copies",
    "data",
    "domains",
    "exports",
    "http",
    "ids",
    "media",
    "metadata",
    "multipart",
    "names",
    "partial",
    "post",
    "queues",
    "ranges",
    "references",
    "retention",
    "serialization",
    "snapshots",
    "suite",
    "times",
    "versions",
]

"""A disk that another host serves, as QEMU's own initiator opens it."""

from __future__ import annotations

from dataclasses import dataclass, field

from backends.disks.tool import Node


@dataclass(frozen=True, slots=True)
class Unit:
    """LUN 0 of a target, and who may log in to it. `portal` is ADDRESS:PORT."""

    portal: str
    target: str
    initiator: str
    secret: str = field(repr=False)

    def node(self, size_bytes: int) -> Node:
        """So much of it: a unit may be a little larger than its disk."""
        file = {
            "driver": "iscsi",
            "transport": "tcp",
            "portal": self.portal,
            "target": self.target,
            "lun": 0,
            "initiator-name": self.initiator,
            "user": self.initiator,
            "password-secret": "chap",
        }
        return Node({"driver": "raw", "size": size_bytes, "file": file}, self.secret)

"""The actions that apply in each state: one table per resource, for the door, the front-ends and the docs.

The state that an action leads to is in `MACHINE_TARGETS` and its fellows; what an agent does about it is not here.
"""

from __future__ import annotations

from backends.model import DiskState, LinkState, MachineState

MACHINE_ACTIONS: dict[MachineState, tuple[str, ...]] = {
    MachineState.INACTIVE: ("start", "save"),
    MachineState.ACTIVE: ("stop", "restart", "suspend", "save"),
    MachineState.SUSPENDED: ("start",),
    MachineState.ERROR: ("start", "stop"),
}
MACHINE_TARGETS: dict[str, MachineState] = {
    "start": MachineState.ACTIVE,
    "stop": MachineState.INACTIVE,
    "restart": MachineState.ACTIVE,
    "suspend": MachineState.SUSPENDED,
}

NETWORK_ACTIONS: dict[LinkState, tuple[str, ...]] = {
    LinkState.INACTIVE: ("up",),
    LinkState.ACTIVE: ("down",),
    LinkState.ERROR: ("up", "down"),
}
NETWORK_TARGETS: dict[str, LinkState] = {"up": LinkState.ACTIVE, "down": LinkState.INACTIVE}

DISK_ACTIONS: dict[DiskState, tuple[str, ...]] = {
    DiskState.OFFLINE: ("online", "backup", "snapshot", "resize"),
    DiskState.ONLINE: ("offline", "backup", "snapshot", "resize"),
    DiskState.BACKUP: (),
    DiskState.SNAPSHOT: (),
    DiskState.RESIZE: (),
    DiskState.DEGRADED: ("offline", "backup"),
    DiskState.ERROR: ("online", "offline"),
}
SNAPSHOT_ACTIONS = {state: tuple({"backup"} & set(terms)) for state, terms in DISK_ACTIONS.items()}
"""Of a disk that is another's snapshot: what doesn't change it."""
DISK_TARGETS: dict[str, DiskState] = {"online": DiskState.ONLINE, "offline": DiskState.OFFLINE}

"""What can go wrong with a hypervisor: few classes, each with a sentence fit for a state message."""

from __future__ import annotations

import libvirt


class MachineError(Exception):
    """All that this driver raises."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidSpec(MachineError):
    """The specification itself can't be: trying again won't help."""


class HypervisorUnavailable(MachineError):
    """No connection to libvirt, or lost in the middle of the call: try again later."""


class MachineAbsent(MachineError):
    """No such domain of ours."""


class NotOurs(MachineError):
    """A domain stands in the way that another made."""


class WrongPower(MachineError):
    """The machine is off, hibernated or running, and the call needs it otherwise."""


class MachineBusy(MachineError):
    """Another operation on the machine is under way: try again later."""


class AnotherCopyRuns(MachineBusy):
    """A disk of the machine is being copied, and its disks are copied one after the other."""


class DeviceConflict(MachineError):
    """Another disk or interface is plugged where this one should go."""


class HypervisorRefused(MachineError):
    """libvirt or QEMU answered with an error of their own, quoted in the message."""


_LOST = frozenset({libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_INVALID_CONN, libvirt.VIR_ERR_RPC})
_CONNECTION_DOMAINS = frozenset({libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE})


def is_connection_loss(error: libvirt.libvirtError) -> bool:
    """Whether it was the way to libvirtd that failed, and not what was asked of it."""
    code, domain = error.get_error_code(), error.get_error_domain()
    return code in _LOST or (domain in _CONNECTION_DOMAINS and code != libvirt.VIR_ERR_NO_SUPPORT)


def translate(error: libvirt.libvirtError, doing: str) -> MachineError:
    """`doing` completes the sentence "could not ..."."""
    message = " ".join((error.get_error_message() or str(error)).split())
    sentence = f"could not {doing}: {message}"
    if is_connection_loss(error):
        return HypervisorUnavailable(sentence)
    match error.get_error_code():
        case libvirt.VIR_ERR_NO_DOMAIN:
            return MachineAbsent(sentence)
        case libvirt.VIR_ERR_OPERATION_TIMEOUT:
            return MachineBusy(sentence)
        case _:
            return HypervisorRefused(sentence)

"""Copying a running guest's disk as it is at one moment, by QEMU's push-mode backup job.

The copy is a qcow2 that shares nothing with its source; what the guest hasn't flushed is not in it.
"""

from __future__ import annotations

import time
from pathlib import Path

import libvirt

from backends.machines.domain_xml import backup_xml, parse_domain
from backends.machines.errors import HypervisorRefused, MachineBusy, WrongPower

_POLL_SECONDS = 0.25


def copy_disk(domain: libvirt.virDomain, device: str, target: Path, limit_seconds: float) -> None:
    """`target` appears only when complete. A copy that an earlier process left running is aborted first."""
    devices = tuple(parse_domain(domain.XMLDesc()).disks)
    if device not in devices:
        raise WrongPower(f"{domain.name()} has no disk {device} to copy, only {', '.join(devices) or 'none'}")
    _abort(domain)
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    done = False
    try:
        domain.backupBegin(backup_xml(device, partial, devices), None)
        _wait(domain, limit_seconds)
        partial.rename(target)
        done = True
    finally:
        if not done:
            _abort_quietly(domain)
            partial.unlink(missing_ok=True)


def _backup_runs(domain: libvirt.virDomain) -> bool:
    job = domain.jobStats()
    runs: bool = job["type"] != libvirt.VIR_DOMAIN_JOB_NONE
    return runs and job.get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP


def _wait(domain: libvirt.virDomain, limit_seconds: float) -> None:
    deadline = time.monotonic() + limit_seconds
    while _backup_runs(domain):
        if time.monotonic() >= deadline:
            raise MachineBusy(f"copying a disk of {domain.name()} took longer than {limit_seconds:g} s")
        time.sleep(_POLL_SECONDS)
    if not domain.isActive():
        raise WrongPower(f"{domain.name()} stopped while its disk was copied")
    completed = domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
    if completed.get("type") != libvirt.VIR_DOMAIN_JOB_COMPLETED or not completed.get("success", True):
        reason = completed.get("errmsg", "the job failed")
        raise HypervisorRefused(f"could not copy a disk of {domain.name()}: {reason}")


def _abort(domain: libvirt.virDomain) -> None:
    if not _backup_runs(domain):
        return
    try:
        domain.abortJob()
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:  # no job is active: it has just ended
            raise
    deadline = time.monotonic() + 10
    while _backup_runs(domain):
        if time.monotonic() >= deadline:
            raise MachineBusy(f"an earlier copy of a disk of {domain.name()} doesn't end")
        time.sleep(_POLL_SECONDS)


def _abort_quietly(domain: libvirt.virDomain) -> None:
    """On the way out of a failure, whose error is the one to tell."""
    try:
        _abort(domain)
    except (libvirt.libvirtError, MachineBusy):
        return

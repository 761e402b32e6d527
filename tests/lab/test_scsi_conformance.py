"""libiscsi's own suite, which tests targets for what SCSI and iSCSI say, against a disk that is served here."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from fnmatch import fnmatchcase

import pytest

from backends.disks.iscsi import Targets, TargetSpec
from tests.lab.conftest import grant, portal_url

MIB = 2**20
LEAST_TESTS = 15
"""The smaller family has so many: fewer results were not read, or the suite ended early."""
ONE_INITIATOR = "needs a second initiator, and a disk here is granted to one that writes"
NO_COMPARISON = "LIO's VERIFY compares nothing and ignores the protection field"
RESIDUALS = "LIO refuses a write whose data and command differ in length, or counts the residual otherwise"
KNOWN = {
    "CompareAndWrite.Simple": "LIO names another reason than the suite expects for too many blocks at once",
    "CompareAndWrite.Miscompare": "LIO names another reason than the suite expects for too many blocks at once",
    "ProutReserve.Access*": ONE_INITIATOR,
    "ProutReserve.Ownership*": ONE_INITIATOR,
    "ProutPreempt.RemoveRegistration": ONE_INITIATOR,
    "Reserve6.2Initiators": ONE_INITIATOR,
    "Reserve6.Logout": ONE_INITIATOR,
    "Reserve6.ITNexusLoss": ONE_INITIATOR,
    "ReceiveCopyResults.CopyStatus": "LIO knows no status of copies",
    "Verify1?.VerifyProtect": NO_COMPARISON,
    "Verify1?.Mismatch": NO_COMPARISON,
    "iSCSIdatasn.iSCSIDataSnInvalid": "LIO ends the connection at a wrong DataSN, where the suite waits for a status",
    "iSCSIResiduals.Write*Residuals": RESIDUALS,
}
"""What fails though the disk is served as it should be, and why."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("family", ["SCSI", "iSCSI"])
def test_served_disk_passes_libiscsi_s_suite(
    targets: Targets, make_spec: Callable[..., TargetSpec], family: str
) -> None:
    guest = grant()
    spec = make_spec(guest, size_bytes=64 * MIB)
    targets.ensure_target(spec)
    url = portal_url(guest, f"{targets.target_name(spec.id)}/0")
    done = subprocess.run(
        ["iscsi-test-cu", "--dataloss", "--initiator-name", guest.initiator, "--test", family, url],
        capture_output=True, encoding="latin-1", timeout=880, check=False,
    )  # fmt: skip
    results = read_results(done.stdout)
    assert len(results) >= LEAST_TESTS, done.stdout[-2000:] + done.stderr[-2000:]
    failed = {name for name, has_passed in results.items() if not has_passed}
    unexpected = {name for name in failed if not any(fnmatchcase(name, known) for known in KNOWN)}
    assert unexpected == set()
    print(
        f"{family}: {len(results) - len(failed)} of {len(results)} passed; known to fail: {', '.join(sorted(failed))}"
    )


def read_results(output: str) -> dict[str, bool]:
    """By `Suite.Test`. What a test says stands between its name and its result, in lines of its own or not."""
    suite = test = ""
    results: dict[str, bool] = {}
    for line in output.splitlines():
        if found := re.fullmatch(r"Suite: (\S+)", line):
            suite = found[1]
        elif found := re.match(r"  Test: (\S+) \.\.\.(.*)", line):
            test, line = found[1], found[2]
        if line.startswith(("passed", "FAILED")):
            results[f"{suite}.{test}"] = line.startswith("passed")
    return results

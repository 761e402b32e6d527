"""The boot sector that the KVM probe runs."""

from __future__ import annotations

import pytest

from backends.machines.probe import boot_sector


def test_boot_sector_is_one_that_a_bios_starts() -> None:
    disk = boot_sector(b"hello")
    assert disk[510:512] == b"\x55\xaa"
    assert len(disk) == 1 << 20


def test_sign_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="more than a boot sector"):
        boot_sector(b"x" * 200)

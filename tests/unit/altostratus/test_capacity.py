"""What a host offers is what it can do, whatever its settings say."""

from __future__ import annotations

from pathlib import Path

import pytest

from altostratus.agent import capacity_of
from altostratus.settings import Settings


@pytest.mark.parametrize(("can_filter_vlans", "offered"), [(True, ((100, 199),)), (False, ())])
def test_vlans_are_offered_where_the_kernel_filters_them(
    tmp_path: Path, can_filter_vlans: bool, offered: tuple[tuple[int, int], ...]
) -> None:
    (tmp_path / "pool").mkdir()
    settings = Settings(state=tmp_path, vlan_uplink="wire", vlans="100-199")
    assert tuple(capacity_of(settings, can_filter_vlans=can_filter_vlans).vlans) == offered

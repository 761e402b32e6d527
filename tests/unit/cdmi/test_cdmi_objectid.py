"""Object IDs, against IDs that the standard itself prints."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderers.cdmi.objectid import DOCUMENTATION_ENTERPRISE, ENTERPRISE_MAX, ObjectIdError, crc16, decode, encode


def test_the_checksum_is_crc16_arc() -> None:
    assert crc16(b"123456789") == 0xBB3D


@pytest.mark.parametrize(
    "printed",
    ["00007E7F00104BE66AB53A9572F9F51E", "00007ED900104E1D14771DC67C27BF8B", "00007E7F0010128E42D87EE34F5A6560"],
)
def test_the_standards_own_ids_have_this_checksum(printed: str) -> None:
    data = bytes.fromhex(printed)
    assert crc16(data[:6] + b"\0\0" + data[8:]) == int.from_bytes(data[6:8], "big")


@given(st.uuids(), st.integers(1, ENTERPRISE_MAX))
def test_an_id_is_its_uuid(identity: UUID, enterprise: int) -> None:
    text = encode(identity, enterprise)
    assert len(text) == 48
    assert decode(text, enterprise) == decode(text.lower(), enterprise) == identity


@given(st.uuids(), st.integers(0, 47), st.sampled_from("0123456789ABCDEF"))
def test_any_wrong_digit_is_found(identity: UUID, place: int, digit: str) -> None:
    text = encode(identity, DOCUMENTATION_ENTERPRISE)
    wrong = text[:place] + digit + text[place + 1 :]
    if wrong != text:
        with pytest.raises(ObjectIdError):
            decode(wrong, DOCUMENTATION_ENTERPRISE)


@given(st.text(max_size=100))
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ObjectIdError):
        decode(text, DOCUMENTATION_ENTERPRISE)

"""The README's chapter about disks, typed as it stands there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from live import User, eventually, make_guest, make_key, removed_at_the_end

from tests.conftest import repository
from tests.system.conftest import Gateway

CONTAINER = "application/cdmi-container"


def blocks_of(chapter: str) -> list[str]:
    text = (repository() / "README.md").read_text()
    found = re.search(rf"^## {chapter}$(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return re.findall(r"^```\n(.*?)^```", found[1], re.MULTILINE | re.DOTALL)


def test_the_readme_s_disk_is_made_filled_read_kept_and_let_out(gateway: Gateway, tmp_path: Path) -> None:
    make, attach, keep, let_out = blocks_of("A disk in two standards")
    key = make_key(tmp_path)
    options = f"-F none -i {key} -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    (tmp_path / "ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh {options} -o LogLevel=ERROR "$@"\n')
    (tmp_path / "ssh").chmod(0o755)
    given = {"URL": gateway.url, "LOGIN": ":".join(gateway.credentials), "PATH": f"{tmp_path}:/usr/bin:/bin"}

    def typed(*lines: str) -> str:
        done = subprocess.run(
            ["sh", "-ec", "\n".join(lines)], env=given, cwd=tmp_path, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    with gateway.client() as http:
        user = User(http)

        def is_complete(path: str) -> bool:
            shown = http.get(f"/cdmi/2.0.0/disks/{path}/", headers={"Accept": CONTAINER}).json()
            return bool(shown["completionStatus"] == "Complete")

        guest = make_guest(user, key)
        with removed_at_the_end(user, guest.path):
            guest.wait_for_boot()
            typed(make)
            settings, _, rest = make.partition("\n\n")
            place, _, rest = attach.partition("\n\n")
            assert place.count("…") == 2
            given |= {"COMPUTE": gateway.url + guest.path, "ADDRESS": guest.address}
            link = typed(settings, *rest.splitlines()[:-1], 'echo "$LINK"').split()[-1]
            eventually(lambda: guest.answers("test -b /dev/vdb"), "the disk in the guest")
            assert typed(rest.splitlines()[-1]) == "bytes of mine\n"

            given |= {"LINK": link}
            take, look, *clone, detach, back = keep.replace("\\\n", "").splitlines()
            typed(settings, take, look)
            eventually(lambda: is_complete("papers/cdmi_snapshots/before"), "the snapshot")
            typed(settings, *clone, detach)
            eventually(lambda: is_complete("copy"), "the copy")
            eventually(lambda: not user.http.get(link).is_success, "the link's end")
            eventually(lambda: "is attached" not in typed(settings, back), "the disk's coming free")
            eventually(lambda: is_complete("papers"), "the way back")
        printed = typed(settings, let_out)
        assert "serves no disks" in printed
        assert (tmp_path / "first-sector").read_bytes() == b"bytes of mine\n".ljust(512, b"\0")
        for name in ("copy", "papers"):
            eventually(lambda name=name: http.delete(f"/cdmi/disks/{name}/").is_success, f"the end of {name}")  # type: ignore[misc]

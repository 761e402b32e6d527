"""What runs in a lab machine whose storage agent dies at a given step: does what files in a shared folder say.

`storage_steps.py FOLDER`, with the agent's settings in the environment, reads FOLDER/wanted.json, a number and the
scenario in which the agent dies (null: it doesn't, and then has nothing left to do), and answers in FOLDER/done.json.
It dies after the first step of lines of code that none has died at in that scenario.
Everything is imported before the first fork: under emulation that is most of an agent's life.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from altostratus import settings as settings_module
from altostratus.settings import Settings
from altostratus.storage import opened_storage_host
from backends.agent.storage import begin, sweep, work
from backends.agent.storage_host import StorageHost
from backends.disks.iscsi import CONFIGFS, Targets
from tests.system import stepwise

stepwise.CHANGES += [
    (fcntl, "ioctl"),
    (os, "ftruncate"),
    *((Targets, name) for name in ("ensure_target", "close", "absent")),
]


def main(folder: Path) -> None:
    settings = settings_module.load()
    done = 0
    died_at: set[tuple[str, str]] = set()
    answer(folder, {"number": 0})
    while True:
        wanted = json.loads((folder / "wanted.json").read_text()) if (folder / "wanted.json").exists() else {}
        if wanted.get("number", 0) == done:
            time.sleep(0.05)
            continue
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os._exit(_agent(settings, wanted["scenario"], died_at, writing))
        os.close(writing)
        with os.fdopen(reading) as told:
            place = told.read()
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            died_at.add((wanted["scenario"], place))
            answer(folder, {"number": wanted["number"], "killed": os.WTERMSIG(status) == signal.SIGKILL})
        else:
            answer(
                folder,
                {"number": wanted["number"], "killed": False, "status": os.WEXITSTATUS(status), **state(settings)},
            )
        done = wanted["number"]


def _agent(settings: Settings, scenario: str | None, died_at: set[tuple[str, str]], writing: int) -> int:
    def is_last(places: list[str]) -> bool:
        return (scenario, places[-1]) not in died_at and os.write(writing, places[-1].encode()) > 0

    try:
        with opened_storage_host(settings) as host:
            begin(host, settings.disk_overcommit)
            if scenario is None:
                sweep(host)
            else:
                counted = stepwise._Steps(is_last)
                counted.wrap()
                counted.begin()
            _work(host, settings)
    except BaseException as error:  # noqa: BLE001 - a fork must not go on as its parent
        print(f"agent failed: {error!r}", file=sys.stderr, flush=True)
        return 1
    return 0


def _work(host: StorageHost, settings: Settings) -> None:
    """The last job may have asked for another when no more were looked for."""
    waits = True
    while waits:
        asyncio.run(work(host, settings.conninfo, until_idle=True))
        with host.connection() as connection:
            waits = bool(
                connection.execute(
                    "SELECT FROM procrastinate_jobs WHERE queue_name = %s AND status = 'todo'"
                    " AND coalesce(scheduled_at, now()) <= now()",
                    [host.name],
                ).fetchall()
            )


def state(settings: Settings) -> dict[str, Any]:
    """What is on the host: disks, targets, and who may log in to each."""
    folder = settings.state / "served"
    targets = (CONFIGFS / "iscsi").glob("iqn.*altostratus:*")
    return {
        "files": sorted(path.name for path in folder.iterdir()),
        "targets": {
            path.name.rpartition(".")[2]: sorted(acl.name for acl in (path / "tpgt_1/acls").iterdir())
            for path in targets
        },
    }


def answer(folder: Path, content: dict[str, Any]) -> None:
    part = folder / "done.part"
    part.write_text(json.dumps(content))
    part.replace(folder / "done.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

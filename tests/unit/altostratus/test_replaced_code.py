"""A process that runs needs nothing more of its code's files: they may be replaced under it."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import repository

PACKAGES = ("altostratus", "backends", "occi_server", "renderers")
USE_AFTER_REMOVAL = """
import shutil, sys
from pathlib import Path
import altostratus.application, backends.agent.loop, backends.store.database
from occi_server.model import model_of
from altostratus.settings import Settings
from renderers.occi import json

for package in sys.argv[1:]:
    shutil.rmtree(package)
assert Path(backends.store.database.__file__).is_relative_to(Path.cwd())
assert backends.store.database.query("agent.machine").startswith("SELECT")
assert json.parse_json(b'{"attributes": {"occi.compute.cores": 2}}').attributes == {"occi.compute.cores": 2}
model_of(altostratus.application.site_of(Settings()))
"""


def test_a_running_process_needs_no_more_of_its_files(tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(repository() / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    ended = subprocess.run(
        [sys.executable, "-c", USE_AFTER_REMOVAL, *PACKAGES],
        cwd=tmp_path, env={"PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr

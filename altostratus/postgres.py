"""The private PostgreSQL cluster: made, started, stopped. Unix socket only, run by an unprivileged user."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

SETTINGS = """\
listen_addresses = ''
unix_socket_permissions = 0777
max_connections = 100
shared_buffers = 64MB
logging_collector = off
log_min_messages = warning
"""
LONGEST_SOCKET_PATH_BYTES = 107
"""What the kernel takes (unix(7)), less the final zero."""
ACCESS = "local all all peer map=altostratus\n"


class PostgresError(Exception):
    """The cluster can't be made or run; the sentence says why."""


@dataclass(frozen=True, slots=True)
class PrivateCluster:
    """A cluster in `folder` whose database belongs to the system user `owner`; root may connect as that user too."""

    folder: Path
    owner: str

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def socket(self) -> Path:
        return self.folder / ".s.PGSQL.5432"

    @property
    def conninfo(self) -> str:
        return f"host={self.folder} dbname=postgres user={self.owner}"

    def ensure_made(self) -> None:
        """initdb, once; one cut off in the middle is done again."""
        account = pwd.getpwnam(self.owner)
        self.folder.mkdir(parents=True, exist_ok=True)
        os.chown(self.folder, account.pw_uid, account.pw_gid)
        self.folder.chmod(0o755)
        complete = self.data / "altostratus.conf"
        if not complete.exists():
            subprocess.run(["rm", "-rf", "--", str(self.data)], check=True, timeout=60)
            made = subprocess.run(
                [
                    str(programs() / "initdb"),
                    f"--pgdata={self.data}",
                    f"--username={self.owner}",
                    "--auth=peer",
                    "--encoding=UTF8",
                    "--locale=C",
                ],
                user=account.pw_uid,
                group=account.pw_gid,
                extra_groups=[],
                cwd=self.folder,
                capture_output=True,
                text=True,
                timeout=120,
            )
            if made.returncode != 0:
                raise PostgresError(f"PostgreSQL's initdb failed in {self.data}: {made.stderr.strip()}")
            with (self.data / "postgresql.conf").open("a") as file:
                file.write("include 'altostratus.conf'\n")
        names = sorted({self.owner, "root"})
        (self.data / "pg_ident.conf").write_text("".join(f"altostratus {name} {self.owner}\n" for name in names))
        (self.data / "pg_hba.conf").write_text(ACCESS)
        complete.write_text(SETTINGS + f"unix_socket_directories = '{self.folder}'\n")
        os.chown(complete, account.pw_uid, account.pw_gid)

    def command(self) -> list[str]:
        """What runs it in the foreground, as `owner`; SIGINT stops it fast and cleanly."""
        return [str(programs() / "postgres"), "-D", str(self.data)]

    def is_ready(self) -> bool:
        ready = subprocess.run([str(programs() / "pg_isready"), "-q", "-h", str(self.folder)], timeout=10, check=False)
        return ready.returncode == 0


def programs() -> Path:
    """The folder of PostgreSQL's own programs, newest version first; Debian keeps them off the PATH."""
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]), reverse=True
    )
    if not versions:
        raise PostgresError("PostgreSQL is not installed: there is no /usr/lib/postgresql/*/bin/initdb")
    return versions[0].parent

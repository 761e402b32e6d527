"""Where the cloud is and who asks: options, environment, configuration file, in this order.

Reads files and the environment, never the network. Passwords stay out of every message and representation.
"""

from __future__ import annotations

import ipaddress
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from stratus_client.errors import UsageError

FILE_LIMIT_BYTES = 64 * 1024
KEYS = ("endpoint", "user", "password", "credentials", "ca_file", "ssh_login")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a connection needs. `warnings` are sentences for the user."""

    endpoint: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    ssh_login: str | None = None
    warnings: tuple[str, ...] = ()


def config_path(environment: Mapping[str, str]) -> Path:
    """`STRATUS_CONFIG`, or config.toml in the user's configuration folder."""
    if chosen := environment.get("STRATUS_CONFIG"):
        return Path(chosen)
    base = environment.get("XDG_CONFIG_HOME") or str(Path("~/.config").expanduser())
    return Path(base) / "stratus" / "config.toml"


def state_folder(environment: Mapping[str, str]) -> Path:
    """Where what `stratus` remembers between calls lives (host keys of machines)."""
    base = environment.get("XDG_STATE_HOME") or str(Path("~/.local/state").expanduser())
    return Path(base) / "stratus"


def load(
    endpoint: str | None = None,
    user: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """The settings in force. The password belongs to its user: a user named elsewhere doesn't inherit it."""
    path = config_path(environment)
    given, warnings = _read_config(path, required="STRATUS_CONFIG" in environment)
    where = endpoint or environment.get("STRATUS_ENDPOINT") or given.get("endpoint")
    if not where:
        raise UsageError(
            f'No endpoint is known: use --endpoint URL, set STRATUS_ENDPOINT, or write endpoint = "URL" in {path}.'
        )
    who = user or environment.get("STRATUS_USER")
    password = environment.get("STRATUS_PASSWORD")
    if credentials := environment.get("STRATUS_CREDENTIALS"):
        who, password, warning = _with_credentials(Path(credentials), who, password)
        warnings += warning
    elif password is None and (credentials := given.get("credentials")):
        who, password, warning = _with_credentials(path.parent / Path(credentials).expanduser(), who, password)
        warnings += warning
    elif password is None and who in (None, given.get("user")):
        password = given.get("password")
    who = who or given.get("user")
    address = checked_endpoint(where)
    if password is not None and not _is_private(address):
        warnings += (f"The password travels unencrypted to {address}: use https:// outside your own machine.",)
    ca_file = environment.get("STRATUS_CA_FILE") or given.get("ca_file")
    return Settings(
        endpoint=address,
        user=who,
        password=password,
        ca_file=Path(ca_file).expanduser() if ca_file else None,
        ssh_login=environment.get("STRATUS_SSH_LOGIN") or given.get("ssh_login"),
        warnings=warnings,
    )


def checked_endpoint(text: str) -> str:
    """The endpoint without its last slash."""
    wanted = "an address such as https://cloud.example.org or http://127.0.0.1:8787"
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise UsageError(f"The endpoint {text!r} can't be read: expected {wanted}.") from None
    if parts.username or parts.password:
        raise UsageError("The endpoint must not hold credentials: use STRATUS_USER and STRATUS_PASSWORD.")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(f"The endpoint {text!r} can't be used: expected {wanted}.")
    return text.rstrip("/")


def _read_config(path: Path, *, required: bool) -> tuple[dict[str, str], tuple[str, ...]]:
    if not path.exists() and not required:
        return {}, ()
    try:
        table = tomllib.loads(_read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"The configuration file {path} is not TOML: {error}.") from None
    for key, value in table.items():
        if key not in KEYS:
            raise UsageError(f"The configuration file {path} has {key!r}, expected only {', '.join(KEYS)}.")
        if not isinstance(value, str):
            raise UsageError(f"The configuration file {path} has a {key} that is not a string in quotes.")
    return table, _exposed(path) if "password" in table else ()


def _with_credentials(path: Path, user: str | None, password: str | None) -> tuple[str, str | None, tuple[str, ...]]:
    """User, password and warnings, where the environment or options outweigh the file."""
    named, separator, secret = _read_text(path).partition("\n")[0].rstrip("\r").partition(":")
    if not separator or not named:
        raise UsageError(f"The credentials file {path} must have user:password as its first line.")
    if user not in (None, named):
        raise UsageError(f"The credentials file {path} is of user {named!r}, but {user!r} was asked for.")
    return named, secret if password is None else password, _exposed(path)


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(FILE_LIMIT_BYTES + 1)
        if len(content) > FILE_LIMIT_BYTES:
            raise UsageError(f"The file {path} is larger than {FILE_LIMIT_BYTES} bytes.")
        return content.decode()
    except OSError as error:
        raise UsageError(f"The file {path} can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"The file {path} is not UTF-8 text.") from None


def _exposed(path: Path) -> tuple[str, ...]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return (f"{path} holds a password and others may read it: run chmod 600 {path}",)
    return ()


def _is_private(endpoint: str) -> bool:
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

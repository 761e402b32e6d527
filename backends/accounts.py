"""Users, projects and roles, and the check of a password."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from uuid import UUID

import argon2

from backends.errors import Conflict, Invalid, NotFound
from backends.model import Caller, Role
from backends.store.database import Connection
from backends.terms import check_term

LEAST_PASSWORD_LENGTH = 8
_hasher = argon2.PasswordHasher()
_nobodys_hash = _hasher.hash(secrets.token_hex())


@dataclass(frozen=True, slots=True)
class Account:
    name: str
    project_name: str
    role: Role


def verify(connection: Connection, name: str, password: str) -> Caller | None:
    """Who that is, or None. Takes as long for a name that doesn't exist as for a wrong password."""
    row = connection.execute(
        "SELECT a.id, a.name, p.id, p.name, a.role, a.password_hash FROM account a"
        " JOIN project p ON p.id = a.project_id WHERE a.name = %s",
        [name.replace("\0", "")],
    ).fetchone()
    try:
        _hasher.verify(row[5] if row else _nobodys_hash, password)
    except argon2.exceptions.VerifyMismatchError:
        return None
    if row is None:
        return None
    return Caller(row[0], row[1], row[2], row[3], Role(row[4]))


def add_user(connection: Connection, name: str, password: str, project_name: str, role: Role) -> None:
    """Makes the project too if there is none of that name. `Conflict` if the user exists."""
    check_term("the user's name", name)
    check_term("the project's name", project_name)
    password_hash = _hash(password)
    with connection.transaction():
        connection.execute("INSERT INTO project (name) VALUES (%s) ON CONFLICT DO NOTHING", [project_name])
        made = connection.execute(
            "INSERT INTO account (name, password_hash, project_id, role)"
            " SELECT %s, %s, id, %s FROM project WHERE name = %s ON CONFLICT DO NOTHING",
            [name, password_hash, role.value, project_name],
        )
        if made.rowcount == 0:
            raise Conflict(f"the user {name!r} exists already")


def set_password(connection: Connection, name: str, password: str) -> None:
    changed = connection.execute("UPDATE account SET password_hash = %s WHERE name = %s", [_hash(password), name])
    if changed.rowcount == 0:
        raise NotFound(f"there is no user {name!r}")


def remove_user(connection: Connection, name: str) -> None:
    """The project and what belongs to it stay."""
    if connection.execute("DELETE FROM account WHERE name = %s", [name]).rowcount == 0:
        raise NotFound(f"there is no user {name!r}")


def users(connection: Connection) -> list[Account]:
    rows = connection.execute(
        "SELECT a.name, p.name, a.role FROM account a JOIN project p ON p.id = a.project_id ORDER BY a.name"
    ).fetchall()
    return [Account(row[0], row[1], Role(row[2])) for row in rows]


def project_id(connection: Connection, name: str) -> UUID:
    row = connection.execute("SELECT id FROM project WHERE name = %s", [name]).fetchone()
    if row is None:
        raise NotFound(f"there is no project {name!r}")
    found: UUID = row[0]
    return found


def _hash(password: str) -> str:
    if len(password) < LEAST_PASSWORD_LENGTH:
        raise Invalid(f"the password has {len(password)} characters; at least {LEAST_PASSWORD_LENGTH} are needed")
    return _hasher.hash(password)

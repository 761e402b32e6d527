"""The door to security groups: what their members may get and send, and which machines are in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from ipaddress import ip_network
from typing import TypedDict
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from backends.cloud.door import Door, check_range, check_text
from backends.errors import Conflict, Invalid, NotAllowed
from backends.jobs import Kind
from backends.model import (
    EVERYTHING,
    NO_FILTER,
    Filter,
    GroupLink,
    GroupRule,
    NewGroup,
    NewGroupLink,
    Page,
    SecurityGroup,
)
from backends.store.database import Connection, query
from backends.store.rows import GROUP_LINKS, GROUPS, MACHINES, rule_row

RULES_MAX = 100
GROUPS_OF_MACHINE_MAX = 10


class GroupChanges(TypedDict, total=False):
    title: str | None
    summary: str | None
    rules: tuple[GroupRule, ...]


class GroupDoor(Door):
    """A group and its members belong to one project. A machine that is in no group is in its project's default one."""

    def groups(self, where: Filter = NO_FILTER, page: Page = EVERYTHING) -> Sequence[SecurityGroup]:
        return self._many(GROUPS, _with_rows(where), page)

    def group_ids(self, where: Filter = NO_FILTER, page: Page = EVERYTHING) -> Sequence[UUID]:
        return self._identities(GROUPS, _with_rows(where), page)

    def group(self, group_id: UUID) -> SecurityGroup:
        return self._one(GROUPS, group_id)

    def create_group(self, new: NewGroup) -> SecurityGroup:
        group_id = new.id or uuid4()
        check_text("the title", new.title)
        check_text("the summary", new.summary, 8192)
        with self._change() as connection:
            project_id = self._caller.project_id
            self._insert(
                connection,
                "security_group",
                {
                    "id": group_id,
                    "project_id": project_id,
                    "title": new.title,
                    "summary": new.summary,
                    "rules": self._checked(connection, project_id, new.rules),
                },
            )
            self._tag_new(connection, new.tag_ids, group_id)
            return self.group(group_id)

    def update_group(self, group_id: UUID, changes: GroupChanges) -> SecurityGroup:
        """New rules hold for running machines too, and connections that none of them allows are cut."""
        check_text("the title", changes.get("title"))
        check_text("the summary", changes.get("summary"), 8192)
        with self._change() as connection:
            group = self._in_turn(connection, group_id)
            values: dict[str, object] = {
                name: value for name, value in changes.items() if getattr(group, name) != value
            }
            if "rules" in values:
                values["rules"] = self._checked(connection, group.project_id, changes["rules"])
            self._update(connection, "security_group", group_id, values)
            if "rules" in values:
                self._converge_group(connection, group.project_id, group_id)
            return self.group(group_id)

    def delete_group(self, group_id: UUID) -> None:
        """`Conflict` while a machine is in it; `NotAllowed` for the default one."""
        with self._change() as connection:
            group = self._in_turn(connection, group_id)
            if group.is_default:
                raise NotAllowed(f"the security group {group_id} is its project's default: it can't be deleted")
            member = connection.execute(
                "SELECT m.id FROM group_link l JOIN machine m ON m.id = l.machine_id"
                " WHERE l.group_id = %s AND NOT m.deleting LIMIT 1",
                [group_id],
            ).fetchone()
            if member is not None:
                raise Conflict(f"the security group {group_id} is in use: the compute {member[0]} is in it")
            parameters = {"id": str(group_id), "project_id": group.project_id}
            connection.execute("DELETE FROM group_link WHERE group_id = %(id)s", parameters)
            connection.execute(query("groups.forget_rules_about"), parameters)
            connection.execute("DELETE FROM tagging WHERE resource_id = %(id)s", parameters)
            connection.execute("DELETE FROM security_group WHERE id = %(id)s", parameters)

    def group_links(self, where: Filter = NO_FILTER, page: Page = EVERYTHING) -> Sequence[GroupLink]:
        return self._many(GROUP_LINKS, where, page)

    def group_link_ids(self, where: Filter = NO_FILTER, page: Page = EVERYTHING) -> Sequence[UUID]:
        return self._identities(GROUP_LINKS, where, page)

    def group_link(self, link_id: UUID) -> GroupLink:
        return self._one(GROUP_LINKS, link_id)

    def join_group(self, machine_id: UUID, new: NewGroupLink) -> GroupLink:
        """The machine's first group takes the place of the default one, which it may join too."""
        check_text("the title", new.title)
        with self._change() as connection:
            machine = self._one(MACHINES, machine_id, lock=True)
            connection.execute("SELECT FROM security_group WHERE id = %s FOR KEY SHARE", [new.group_id])
            group = self._one(GROUPS, new.group_id)
            if group.project_id != machine.project_id:
                raise Conflict(
                    f"the security group {group.id} belongs to another project than the compute {machine_id}"
                )
            groups = self._groups_of(connection, machine_id)
            if group.id in groups:
                raise Conflict(f"the compute {machine_id} is in the security group {group.id} already")
            if len(groups) >= GROUPS_OF_MACHINE_MAX:
                raise Conflict(
                    f"the compute {machine_id} is in {len(groups)} security groups;"
                    f" at most {GROUPS_OF_MACHINE_MAX} apply to it"
                )
            link_id = new.id or uuid4()
            self._insert(
                connection,
                "group_link",
                {
                    "id": link_id,
                    "project_id": machine.project_id,
                    "machine_id": machine_id,
                    "group_id": group.id,
                    "title": new.title,
                },
            )
            self._moved(connection, machine_id, machine.project_id, group.id, was_alone=not groups)
            return self.group_link(link_id)

    def rename_group_link(self, link_id: UUID, title: str | None) -> GroupLink:
        check_text("the title", title)
        with self._change() as connection:
            self._one(GROUP_LINKS, link_id, lock=True)
            self._update(connection, "group_link", link_id, {"title": title})
            return self.group_link(link_id)

    def leave_group(self, link_id: UUID) -> None:
        with self._change() as connection:
            # First the machine, as its deletion does, which takes the links along.
            machine = self._one(MACHINES, self._one(GROUP_LINKS, link_id).machine_id, lock=True)
            link = self._one(GROUP_LINKS, link_id, lock=True)
            was_alone = len(self._groups_of(connection, machine.id)) == 1
            connection.execute("DELETE FROM tagging WHERE resource_id = %s", [link_id])
            connection.execute("DELETE FROM group_link WHERE id = %s", [link_id])
            self._moved(connection, machine.id, machine.project_id, link.group_id, was_alone=was_alone)

    def _in_turn(self, connection: Connection, group_id: UUID) -> SecurityGroup:
        """The group, held. A project's are changed one after the other: the rules of each may name all others."""
        project_id = self._one(GROUPS, group_id).project_id
        connection.execute("SELECT FROM project WHERE id = %s FOR NO KEY UPDATE", [project_id])
        return self._one(GROUPS, group_id, lock=True)

    @staticmethod
    def _groups_of(connection: Connection, machine_id: UUID) -> set[UUID]:
        """Read once the machine is held: others may have changed them while it was waited for."""
        rows = connection.execute("SELECT group_id FROM group_link WHERE machine_id = %s", [machine_id])
        return {group_id for (group_id,) in rows}

    def _moved(
        self, connection: Connection, machine_id: UUID, project_id: UUID, group_id: UUID, *, was_alone: bool
    ) -> None:
        """The machine's own rules change, and what members of these groups are let through by others'."""
        row = connection.execute(
            "UPDATE machine SET generation = generation + 1 WHERE id = %s RETURNING host", [machine_id]
        ).fetchone()
        self._converge(connection, row[0] if row else None, Kind.MACHINE, machine_id)
        self._converge_group(connection, project_id, group_id)
        if was_alone:
            default = connection.execute(
                "SELECT id FROM security_group WHERE project_id = %s AND is_default", [project_id]
            ).fetchone()
            if default is not None and default[0] != group_id:
                self._converge_group(connection, project_id, default[0])

    def _converge_group(self, connection: Connection, project_id: UUID, group_id: UUID) -> None:
        for row in connection.execute(query("groups.hosts_of_project"), {"project_id": project_id}).fetchall():
            self._converge(connection, row[0], Kind.GROUP, group_id)

    def _checked(self, connection: Connection, project_id: UUID, rules: Sequence[GroupRule]) -> Jsonb:
        """The groups that they name stay until the change is committed, when who deletes one finds its rules."""
        if len(rules) > RULES_MAX:
            raise Invalid(f"{len(rules)} rules are given; a security group has at most {RULES_MAX}")
        for rule in rules:
            _check(rule)
        named = {rule.group_id for rule in rules if rule.group_id is not None}
        known = {
            row[0]
            for row in connection.execute(
                "SELECT id FROM security_group WHERE id = ANY(%s) AND project_id = %s ORDER BY id FOR KEY SHARE",
                [list(named), project_id],
            )
        }
        if named - known:
            raise Invalid(f"a rule names the security group {min(named - known)}, which the project doesn't have")
        return Jsonb([rule_row(rule) for rule in rules])


def _with_rows(where: Filter) -> Filter:
    if "rules" not in where.equals:
        return where
    rules: tuple[GroupRule, ...] = where.equals["rules"]  # type: ignore[assignment]
    return dataclasses.replace(where, equals={**where.equals, "rules": Jsonb([rule_row(rule) for rule in rules])})


def _check(rule: GroupRule) -> None:
    if rule.ports is not None:
        if rule.protocol not in ("tcp", "udp"):
            raise Invalid(f"a rule for {rule.protocol or 'all protocols'} has a port; only tcp and udp have ports")
        first, last = rule.ports
        check_range("the first port of a rule", first, 0, 65535)
        check_range("the last port of a rule", last, first, 65535)
    if rule.remote is not None and rule.group_id is not None:
        raise Invalid(f"a rule names both a group and a range or IP version ({rule.remote}); one of them is expected")
    if rule.remote is not None and not _is_subnet(rule.remote):
        raise Invalid(f"a rule's range is {rule.remote!r}; expected a subnet, such as 192.0.2.0/24 or 2001:db8::/64")


def _is_subnet(text: str) -> bool:
    try:
        return str(ip_network(text)) == text and "%" not in text
    except ValueError:
        return False

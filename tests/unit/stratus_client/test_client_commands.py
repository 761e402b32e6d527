"""The subcommands against a server: what is sent, printed and returned."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from occi_in_thread import DB, KINDS, OLDER, PUBLIC_KEY, WEB, Cloud, I, Stratus

from stratus_client import ssh


def names_of(cloud: Cloud) -> set[str]:
    return {one.name for one in cloud.machines.values()}


def test_list_shows_a_line_for_each_machine(stratus: Stratus) -> None:
    lines = stratus("list").output.splitlines()
    assert lines[0].split() == ["ID", "NAME", "STATE", "ADDRESS", "IMAGE", "SIZE"]
    assert lines[1].split() == ["1a2b3c4d", "web", "active", "127.0.0.1", "debian", "small"]
    assert lines[2].split()[:3] == ["1a2b3c4e", "db", "inactive"]


def test_list_of_an_empty_cloud_says_so_beside_the_output(stratus: Stratus, cloud: Cloud) -> None:
    cloud.machines.clear()
    outcome = stratus("list")
    assert (outcome.status, outcome.output) == (0, "")
    assert "no machines" in outcome.messages
    assert stratus("list", "--json").json == []


def test_json_may_be_asked_for_before_the_subcommand(stratus: Stratus) -> None:
    assert stratus("--json", "list").json == stratus("list", "--json").json
    refused = stratus("--json", "ssh", "web")
    assert refused.status == 2
    assert "`stratus ssh` has no --json" in refused.messages


def test_list_lengthens_identifiers_that_begin_alike(stratus: Stratus, cloud: Cloud) -> None:
    cloud.add("1a2b3c4d-ffff-4000-8000-000000000001", "twin")
    assert [line.split()[0] for line in stratus("list").output.splitlines()[1:]] == [
        "1a2b3c4d-000",
        "1a2b3c4e-000",
        "1a2b3c4d-fff",
    ]


def test_list_shows_what_the_server_says_of_a_machine_in_error(stratus: Stratus, cloud: Cloud) -> None:
    cloud.add("ffff", "big", "error", "No host has 64 cores.")
    assert "No host has 64 cores." in stratus("list").output


def test_images_sizes_networks_and_disks_are_listed(stratus: Stratus) -> None:
    assert stratus("list", "images", "--json").json == [
        {"name": "debian", "title": "Debian 12", "category": "http://example.org/occi#debian"}
    ]
    assert [one["name"] for one in stratus("list", "sizes", "--json").json] == ["small"]
    assert stratus("list", "networks", "--json").json[0]["address"] == "10.0.0.0/24"
    assert stratus("list", "disks", "--json").json[0]["size_gib"] == 10
    assert "data" in stratus("list", "disks").output
    assert "public" in stratus("list", "networks").output
    assert "1 core, 1 GiB" in stratus("list", "sizes").output


def test_show_json_has_the_documented_shape(stratus: Stratus) -> None:
    assert stratus("show", "web", "--json").json == {
        "id": WEB,
        "name": "web",
        "hostname": None,
        "state": "active",
        "state_message": None,
        "addresses": ["127.0.0.1"],
        "image": "debian",
        "size": "small",
        "cores": 1,
        "memory_gib": 0.5,
        "interfaces": [
            {
                "id": WEB,
                "network": "/network/n1",
                "address": "127.0.0.1",
                "mac": "52:54:00:00:00:01",
                "state": None,
            }
        ],
        "disks": [],
        "console": "vnc://10.0.0.1:5901",
        "actions": ["stop"],
        "location": f"/compute/{WEB}",
    }


def test_show_names_the_networks_of_a_machine(stratus: Stratus, cloud: Cloud) -> None:
    cloud.named_origin = "http://elsewhere.invalid"
    assert "public  127.0.0.1" in stratus("show", "web").output


def test_show_finds_by_name_identifier_beginning_and_location(stratus: Stratus, cloud: Cloud) -> None:
    for wanted in ("web", WEB, WEB[:8], f"/compute/{WEB}", f"{cloud.endpoint}/compute/{WEB}"):
        assert stratus("show", wanted, "--json").json["id"] == WEB


def test_a_name_that_fits_several_is_refused_with_the_candidates(stratus: Stratus) -> None:
    outcome = stratus("show", "1a2b")
    assert outcome.status == 3
    assert WEB in outcome.messages
    assert DB in outcome.messages


def test_what_is_not_there_has_a_status_of_its_own(stratus: Stratus) -> None:
    for arguments in (
        ("show", "nope"),
        ("delete", "web", "nope"),
        ("run", "nope"),
        ("run", "--network", "nope"),
    ):
        outcome = stratus(*arguments)
        assert outcome.status == 3, arguments
        assert "nope" in outcome.messages


def test_nothing_is_deleted_when_one_of_the_names_is_wrong(stratus: Stratus, cloud: Cloud) -> None:
    stratus("delete", "--yes", "web", "nope")
    assert names_of(cloud) == {"web", "db"}


def test_delete_removes_each_machine_and_its_host_keys(stratus: Stratus, cloud: Cloud, home: Path) -> None:
    keys = ssh.known_hosts_file(home / ".local/state/stratus", cloud.endpoint, WEB)
    ssh.prepare_known_hosts(keys)
    keys.write_text("key")
    outcome = stratus("delete", "--yes", "web", "db", WEB)
    assert outcome.status == 0
    assert outcome.output.splitlines() == ["Deleted web (1a2b3c4d)", "Deleted db (1a2b3c4e)"]
    assert not cloud.machines
    assert not keys.exists()


def test_run_sends_what_was_asked_and_waits_until_it_is_active(stratus: Stratus, cloud: Cloud, tmp_path: Path) -> None:
    setup = tmp_path / "setup.yaml"
    setup.write_bytes(b"#cloud-config\n\xff")
    outcome = stratus(
        *("run", "debian", "--name", 'my "new" one', "--size", "small", "--cores", "2", "--memory", "512MiB"),
        *("--network", "public", "--disk", "d1", "--user-data", str(setup)),
    )
    assert outcome.status == 0, outcome.messages
    assert outcome.output == 'my "new" one (00000001) is active at 127.0.0.1\n'
    (sent,) = cloud.created
    assert [one.id.term for one in sent.categories] == ["compute", "debian", "small", "ssh_key", "user_data"]
    assert dict(sent.attributes) == {
        "occi.core.title": 'my "new" one',
        "occi.compute.cores": 2,
        "occi.compute.memory": 0.5,
        "occi.credentials.ssh.publickey": PUBLIC_KEY,
        "occi.compute.userdata": base64.b64encode(b"#cloud-config\n\xff").decode(),
    }
    assert [(link.target, str(link.categories[0])) for link in sent.links] == [
        ("/network/n1", f"{I}networkinterface"),
        ("/storage/d1", f"{I}storagelink"),
    ]


def test_run_takes_the_only_image_and_makes_several(stratus: Stratus, cloud: Cloud) -> None:
    made = stratus("run", "--name", "node", "-n", "2", "--json").json
    assert [(one["name"], one["state"]) for one in made] == [("node-1", "active"), ("node-2", "active")]
    assert [one.id.term for one in cloud.created[0].categories] == ["compute", "debian", "ssh_key"]


def test_run_from_a_disk_needs_no_image(stratus: Stratus, cloud: Cloud) -> None:
    assert stratus("run", "--disk", "data", "--no-ssh-key").status == 0
    assert [one.id.term for one in cloud.created[0].categories] == ["compute"]


def test_run_without_wait_returns_at_once(stratus: Stratus) -> None:
    assert stratus("run", "--no-wait", "--json").json[0]["state"] == "inactive"


def test_run_says_why_a_machine_failed(stratus: Stratus, cloud: Cloud) -> None:
    cloud.failing_message = "No host has room."
    outcome = stratus("run", "--name", "big")
    assert outcome.status == 1
    assert "big" in outcome.messages
    assert "No host has room." in outcome.messages


def test_run_gives_up_at_the_time_limit(stratus: Stratus, cloud: Cloud) -> None:
    cloud.looks_until_done = 1000
    outcome = stratus("run", "--timeout", "0")
    assert outcome.status == 1
    assert "inactive, not yet active" in outcome.messages


def test_run_speaks_to_servers_that_know_only_the_older_mixins(stratus: Stratus, cloud: Cloud) -> None:
    cloud.discovery = KINDS + OLDER
    assert stratus("run").status == 0
    assert cloud.created[0].attributes["org.openstack.credentials.publickey.data"] == PUBLIC_KEY


def test_run_warns_when_the_server_takes_no_keys_and_refuses_one_that_was_asked_for(
    stratus: Stratus, cloud: Cloud, home: Path
) -> None:
    cloud.discovery = KINDS
    outcome = stratus("run")
    assert outcome.status == 0
    assert "takes no SSH keys" in outcome.messages
    assert stratus("run", "--ssh-key", str(home / ".ssh/id_ed25519.pub")).status == 1
    assert len(cloud.created) == 1


@pytest.mark.parametrize(
    "content", ["-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", "hello", "", 'command="x" ssh-rsa AAAA']
)
def test_run_sends_nothing_but_public_keys(stratus: Stratus, cloud: Cloud, tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    assert stratus("run", "--ssh-key", str(path)).status == 2
    assert not cloud.created


@pytest.mark.parametrize(
    "arguments",
    [("--memory", "4"), ("--memory", "0GiB"), ("--cores", "0"), ("--name", "a\nb"), ("--count", "0")],
)
def test_run_refuses_values_out_of_form(stratus: Stratus, cloud: Cloud, arguments: tuple[str, str]) -> None:
    assert stratus("run", *arguments).status == 2
    assert not cloud.created


def test_run_asks_which_image_when_there_are_several(stratus: Stratus, cloud: Cloud) -> None:
    cloud.discovery += f'Category: other; scheme="http://example.org/occi#"; class="mixin"; rel="{I}os_tpl"\n'
    outcome = stratus("run")
    assert outcome.status == 2
    assert "debian, other" in outcome.messages


def test_stop_waits_and_passes_the_method_on(stratus: Stratus, cloud: Cloud) -> None:
    outcome = stratus("stop", "web", "--method", "poweroff")
    assert outcome.output == "web (1a2b3c4d) is inactive\n"
    ((term, sent),) = cloud.acted
    assert term == "stop"
    assert str(sent.categories[0].id) == "http://schemas.ogf.org/occi/infrastructure/compute/action#stop"
    assert sent.attributes == {"method": "poweroff"}


def test_a_machine_that_is_stopped_already_is_left_alone(stratus: Stratus, cloud: Cloud) -> None:
    outcome = stratus("stop", "db")
    assert (outcome.status, outcome.output) == (0, "db (1a2b3c4e) is inactive already\n")
    assert not cloud.acted


def test_start_suspend_and_restart_act_on_several(stratus: Stratus, cloud: Cloud) -> None:
    assert [one["state"] for one in stratus("start", "web", "db", "--json").json] == ["active", "active"]
    assert stratus("suspend", "db").output == "db (1a2b3c4e) is suspended\n"
    assert stratus("restart", "web", "--method", "cold").status == 0
    assert [term for term, _ in cloud.acted] == ["start", "suspend", "restart"]


def test_a_machine_in_error_can_be_started(stratus: Stratus, cloud: Cloud) -> None:
    cloud.add("ffff", "big", "error", "No host has room.")
    assert stratus("start", "big").status == 0


def test_console_shows_the_log_and_log_is_the_same(stratus: Stratus) -> None:
    whole = stratus("console", "web").output
    assert whole.startswith("Linux version 6.1")
    assert stratus("log", "web").output == whole
    assert "version" not in stratus("log", "web", "-n", "1").output
    assert "login: " in stratus("log", "web", "--json").json["log"]


def test_console_says_so_when_the_server_has_none(stratus: Stratus, cloud: Cloud) -> None:
    cloud.console_log = None
    outcome = stratus("console", "web")
    assert outcome.status == 1
    assert "no console log of web" in outcome.messages


@pytest.fixture
def becomes(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the process would have become."""
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execvp", lambda _, arguments: started.append(arguments))
    return started


def test_ssh_logs_in_at_the_machines_address(stratus: Stratus, cloud: Cloud, becomes: list[list[str]]) -> None:
    port = cloud.origin.rpartition(":")[2]
    assert stratus("ssh", "debian@web", "-p", port, "--", "ls", "-l").status == 0
    (arguments,) = becomes
    assert arguments[0] == "ssh"
    assert arguments[arguments.index("-l") + 1] == "debian"
    assert arguments[arguments.index("--") :] == ["--", "127.0.0.1", "ls", "-l"]


def test_ssh_asks_the_interface_when_the_machine_doesnt_tell_its_address(
    stratus: Stratus, cloud: Cloud, becomes: list[list[str]]
) -> None:
    cloud.inline_addresses = False
    assert stratus("ssh", "web", "--wait", "0").status == 0
    assert becomes[0][-1] == "127.0.0.1"


def test_ssh_to_a_stopped_machine_says_how_to_start_it(stratus: Stratus, becomes: list[list[str]]) -> None:
    outcome = stratus("ssh", "db")
    assert outcome.status == 1
    assert "stratus start db" in outcome.messages
    assert not becomes


def test_help_of_every_command_fits_eighty_columns_of_attention(run: Stratus) -> None:
    for command in ("run", "list", "show", "start", "stop", "suspend", "restart", "delete", "ssh", "console"):
        outcome = run(command, "--help")
        assert outcome.status == 0
        assert f"stratus {command}" in outcome.output

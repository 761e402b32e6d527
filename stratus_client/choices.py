"""What `stratus run` is told, turned into what the server offers: image, key, user data, networks, disks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from renderers.occi.representation import CategoryId
from stratus_client import machines, names, output, ssh
from stratus_client.errors import UsageError
from stratus_client.occi import Server
from stratus_client.resources import IMAGE_TEMPLATE, Disk, Network, templates

USER_DATA_LIMIT_BYTES = 256 * 1024


def chosen_image(server: Server, wanted: str | None, *, has_disk: bool) -> CategoryId | None:
    if wanted is not None or has_disk:
        return chosen_template(server, wanted, IMAGE_TEMPLATE, "image")
    images = templates(server.catalogue, IMAGE_TEMPLATE)
    if len(images) == 1:
        return images[0].id
    raise UsageError(f"Say which IMAGE to run: {names.offered(images, 'image')}.")


def chosen_template(server: Server, wanted: str | None, base: CategoryId, what: str) -> CategoryId | None:
    if wanted is None:
        return None
    return names.choose_template(templates(server.catalogue, base), wanted, what).id


def public_key(server: Server, chosen: Path | None) -> str | None:
    """The key asked for; else the user's own, if there is one and the server takes keys."""
    if chosen is not None:
        return ssh.read_public_key(chosen.expanduser())
    usual = ssh.default_public_key(Path.home())
    if usual is None:
        output.note("No SSH key was found in ~/.ssh: you may not be able to log in. Make one with ssh-keygen.")
        return None
    if not machines.takes_ssh_keys(server):
        output.note("The server takes no SSH keys: log in as its images have it.")
        return None
    return ssh.read_public_key(usual)


def user_data(stream: BinaryIO | None) -> bytes | None:
    if stream is None:
        return None
    content = stream.read(USER_DATA_LIMIT_BYTES + 1)
    if len(content) > USER_DATA_LIMIT_BYTES:
        raise UsageError(f"The user data is larger than {USER_DATA_LIMIT_BYTES // 1024} KiB.")
    return content


def paths(
    everything: Callable[[Server], Sequence[Network]] | Callable[[Server], Sequence[Disk]],
    server: Server,
    wanted: tuple[str, ...],
    what: str,
) -> tuple[str, ...]:
    """Where the named networks or disks are; asks the server only if there are any."""
    if not wanted:
        return ()
    offered: Sequence[Network | Disk] = everything(server)
    return tuple(names.choose(offered, one, what).entity.path for one in wanted)

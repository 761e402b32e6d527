"""A folder of images and disks, and the steps that make it hold what it should.

Every method says what should be, may be cut off at any point and called again. Names come from UUIDs alone.
It knows neither machines nor the database; a disk that a running machine has open is left alone (`InUse`).
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO
from uuid import UUID, uuid4

from backends.disks.download import download, room_needed_for
from backends.disks.errors import ChecksumMismatch, ImageRefused, InUse, NotThere, SizeTooSmall
from backends.disks.inspect import (
    MAX_IMAGE_BYTES,
    SECTOR_BYTES,
    ImageFormat,
    check_whole,
    inspect_image,
    read_qcow2_header,
)
from backends.disks.qcow2 import is_empty, write_empty
from backends.disks.tool import COPY_SECONDS, Node, Progress, open_options, qemu_img
from backends.values import copy_range, data_ranges

IMAGES = "images"
UNFINISHED = ".part"
UUID_TEXT = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
BACKING_NAME = re.compile(rf"\.\./(?:{IMAGES}/({UUID_TEXT})\.(?:qcow2|raw)|layers/({UUID_TEXT})\.qcow2)")
STORED_FORMATS = (ImageFormat.QCOW2, ImageFormat.RAW)
F_SETSIG = 10
"""Of <fcntl.h>; Python has no name for it."""
NO_LAYERS = (errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP, errno.EPERM, errno.EMLINK)
"""What file systems say that have no leases or second names."""
MOST_LAYERS = 16
"""Of a disk; each costs QEMU an open file, and a look where those above have nothing."""
HALF = 0.5
"""Of the work is to copy a qcow2 image and to check it."""

FOLDER_MODE = 0o750
IMAGE_MODE = 0o440
DISK_MODE = 0o660


class VolumeKind(StrEnum):
    """Whose UUID names the volume; they are apart because clients may choose UUIDs.

    A layer is what several disks have in common: it never changes, and is there as long as one of them needs it.
    """

    DISK = "disks"
    MACHINE = "machines"
    LAYER = "layers"


@dataclass(frozen=True, slots=True)
class Volume:
    """A writable disk: an independent one, or a machine's root disk under the machine's UUID; or a layer of some."""

    kind: VolumeKind
    id: UUID

    def __str__(self) -> str:
        words = {VolumeKind.DISK: "disk", VolumeKind.MACHINE: "root disk of machine", VolumeKind.LAYER: "layer"}
        return f"{words[self.kind]} {self.id}"


def disk(disk_id: UUID) -> Volume:
    return Volume(VolumeKind.DISK, disk_id)


def root_disk(machine_id: UUID) -> Volume:
    return Volume(VolumeKind.MACHINE, machine_id)


def layer(layer_id: UUID) -> Volume:
    return Volume(VolumeKind.LAYER, layer_id)


@dataclass(frozen=True, slots=True)
class ImageFacts:
    format: ImageFormat
    """As stored: QCOW2 or RAW."""
    size_bytes: int
    sha256: str
    """Of the bytes that were imported, before any conversion."""


@dataclass(frozen=True, slots=True)
class VolumeFacts:
    size_bytes: int
    image_id: UUID | None
    """The image it is a clone of."""
    layer_id: UUID | None
    """The layer on which it stores only what differs."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a disk's chain and the format in which it must be opened."""

    path: Path
    format: ImageFormat


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A RAW or QCOW2 image that somebody has sent."""

    file: BinaryIO
    format: ImageFormat


@dataclass(frozen=True, slots=True)
class Capacity:
    total_bytes: int
    free_bytes: int


class DiskPool:
    """`group` is the name of the group that QEMU's processes have: it may read images and open disks."""

    def __init__(self, folder: Path, *, group: str | None = None, max_image_bytes: int = MAX_IMAGE_BYTES) -> None:
        self.folder = folder.absolute()
        self.group = group
        self.max_image_bytes = max_image_bytes

    def prepare(self) -> None:
        """The folders, with their owners. Once, before anything else."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in (IMAGES, *VolumeKind):
            (self.folder / name).mkdir(exist_ok=True)
        for folder in (self.folder, *(self.folder / name for name in (IMAGES, *VolumeKind))):
            self._permit(folder, FOLDER_MODE)

    def sweep(self) -> None:
        """Remove what was cut off, when the agent of this pool starts; nothing while somebody else fills it."""
        with self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB) as alone:
            if not alone:
                return
            for name in (IMAGES, *VolumeKind):
                for leftover in (self.folder / name).glob(f"*{UNFINISHED}*"):
                    leftover.unlink(missing_ok=True)
            self.remove_unused_layers(also_second_names=True)

    @contextmanager
    def kept_from_sweeping(self) -> Iterator[None]:
        """For who works on this pool and isn't its agent: one that starts meanwhile lets unfinished files be."""
        with self._locked(fcntl.LOCK_SH):
            yield

    @contextmanager
    def _locked(self, how: int) -> Iterator[bool]:
        """The folder's own lock, which ends with its holder; False if it can't be had without waiting."""
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(descriptor, how)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)

    # Where things are

    def path(self, volume: Volume) -> Path:
        return self.folder / volume.kind / f"{volume.id}.qcow2"

    def image_file(self, image_id: UUID) -> StoredFile:
        for image_format in STORED_FORMATS:
            path = self._image_path(image_id, image_format)
            if path.exists():
                return StoredFile(path, image_format)
        raise NotThere(f"image {image_id} is not in the pool")

    def chain(self, volume: Volume) -> tuple[StoredFile, ...]:
        """The files that make up the disk, its own first: what QEMU must be able to open, and how."""
        own, facts = StoredFile(self.path(volume), ImageFormat.QCOW2), self.facts(volume)
        if facts.layer_id is not None:
            return (own, *self.chain(layer(facts.layer_id)))
        return (own,) if facts.image_id is None else (own, self.image_file(facts.image_id))

    def images(self) -> set[UUID]:
        return ids_in(self.folder / IMAGES)

    def disks(self) -> set[UUID]:
        return ids_in(self.folder / VolumeKind.DISK)

    def machines(self) -> set[UUID]:
        """The machines that have a root disk here."""
        return ids_in(self.folder / VolumeKind.MACHINE)

    def facts(self, volume: Volume) -> VolumeFacts:
        try:
            with self.path(volume).open("rb") as file:
                header = read_qcow2_header(file)
        except FileNotFoundError as missing:
            raise NotThere(f"{volume} is not in the pool") from missing
        backing = BACKING_NAME.fullmatch(header.backing_file or "")
        image_id, layer_id = (
            UUID(found) if found else None for found in (backing.groups() if backing else (None,) * 2)
        )
        return VolumeFacts(header.size_bytes, image_id, layer_id)

    def usage(self, volume: Volume) -> int:
        """Bytes that it takes on the pool's file system, without its image's and its layers'."""
        try:
            return self.path(volume).stat().st_blocks * 512
        except FileNotFoundError as missing:
            raise NotThere(f"{volume} is not in the pool") from missing

    def capacity(self) -> Capacity:
        system = os.statvfs(self.folder)
        return Capacity(system.f_blocks * system.f_frsize, system.f_bavail * system.f_frsize)

    # Images

    def import_image(
        self,
        image_id: UUID,
        source: Path | str,
        expected_sha256: str | None = None,
        *,
        declared: ImageFormat | None = None,
    ) -> ImageFacts:
        """Take in a FILE or URL, checked, read-only, as qcow2 or raw; other formats are converted."""
        if image_id in self.images():
            facts = self.image_facts(image_id)
            if expected_sha256 is not None and facts.sha256 != expected_sha256.lower():
                raise ChecksumMismatch(f"image {image_id} has the SHA-256 {facts.sha256}, not {expected_sha256}")
            return facts
        fetched = self.folder / IMAGES / f"{image_id}.source{UNFINISHED}"
        try:
            done = download(str(source), fetched, expected_sha256=expected_sha256)
            inspected = inspect_image(fetched, self.max_image_bytes, declared=declared)
            kept = inspected.format in STORED_FORMATS
            facts = ImageFacts(inspected.format if kept else ImageFormat.QCOW2, inspected.size_bytes, done.sha256)
            if kept:
                self._finish_image(image_id, fetched, facts)
            else:
                with self._unfinished(self._image_path(image_id, facts.format)) as converted:
                    convert((StoredFile(fetched, inspected.format),), converted)
                    self._finish_image(image_id, converted, facts)
        finally:
            fetched.unlink(missing_ok=True)
        return facts

    def ensure_image_of(self, image_id: UUID, volume: Volume) -> ImageFacts:
        """An image with the present content of a disk that no running machine has open."""
        if image_id in self.images():
            return self.image_facts(image_id)
        size_bytes = self.facts(volume).size_bytes
        with self._unfinished(self._image_path(image_id, ImageFormat.QCOW2)) as copied:
            convert(self.chain(volume), copied)
            facts = ImageFacts(ImageFormat.QCOW2, size_bytes, sha256_of(copied))
            self._finish_image(image_id, copied, facts)
        return facts

    def image_facts(self, image_id: UUID) -> ImageFacts:
        try:
            stored = json.loads(self._facts_path(image_id).read_bytes())
        except FileNotFoundError as missing:
            raise NotThere(f"image {image_id} is not in the pool") from missing
        return ImageFacts(ImageFormat(stored["format"]), stored["size_bytes"], stored["sha256"])

    def absent_image(self, image_id: UUID) -> None:
        """`InUse` while a disk is based on it."""
        if users := self.clones_of(image_id):
            raise InUse(f"image {image_id} is the base of {len(users)} disks, one of them the {users[0]}")
        for image_format in STORED_FORMATS:
            remove(self._image_path(image_id, image_format))
        remove(self._facts_path(image_id))

    def clones_of(self, image_id: UUID) -> list[Volume]:
        clones = []
        for volume in self._volumes():
            with suppress(NotThere):  # removed since they were listed
                if self.facts(volume).image_id == image_id:
                    clones.append(volume)
        return clones

    # Disks

    def ensure_blank(self, volume: Volume, size_bytes: int) -> None:
        """A disk of zeros. One that exists stays as it is."""
        if self.path(volume).exists():
            return
        with self._unfinished(self.path(volume)) as path:
            write_empty(path, whole_sectors(size_bytes))
            self._finish(path, self.path(volume), DISK_MODE)

    def ensure_clone(self, volume: Volume, image_id: UUID, size_bytes: int) -> None:
        """A disk that starts as the image and stores only what differs. One that exists stays as it is."""
        if self.path(volume).exists():
            return
        base = self.image_file(image_id)
        least_bytes = self.image_facts(image_id).size_bytes
        if size_bytes < least_bytes:
            raise SizeTooSmall(f"{volume} has {size_bytes} bytes; image {image_id} needs {least_bytes}")
        with self._unfinished(self.path(volume)) as path:
            write_empty(path, whole_sectors(size_bytes), (f"../{IMAGES}/{base.path.name}", base.format))
            self._finish(path, self.path(volume), DISK_MODE)

    def ensure_copy(self, target: Volume, source: Volume, *, replaces: bool = False) -> None:
        """A full copy that shares nothing with `source`, which no running machine may have open.

        One that exists stays as it is, unless the copy `replaces` it, at one moment.
        """
        if self.path(target).exists() and not replaces:
            return
        with self._unfinished(self.path(target)) as path, self._replacing(target):
            convert(self.chain(source), path)
            self._finish(path, self.path(target), DISK_MODE)

    def ensure_branch(self, target: Volume, source: Volume, *, changes: bool = True, replaces: bool = False) -> None:
        """As `ensure_copy`, at once: what `source` holds becomes a layer, on which both store only what differs.

        Nobody may have `source` open, or open it meanwhile. One that never `changes`, or to which nothing was written
        since it got its layer, stays on that as it is.
        A source that has too many layers already is copied, and all are where the file system offers no layers.
        """
        if self.path(target).exists() and not replaces:
            return
        facts = self.facts(source)
        if len(self.chain(source)) > MOST_LAYERS:
            self.ensure_copy(target, source, replaces=replaces)
            return
        if changes or facts.layer_id is None:
            try:
                if facts.layer_id is None or not self._is_empty(source):
                    self._make_layer(source)
            except OSError as error:
                if error.errno not in NO_LAYERS:
                    raise
                self.ensure_copy(target, source, replaces=replaces)
                return
        layer_id = self.facts(source).layer_id
        with self._unfinished(self.path(target)) as path, self._replacing(target):
            if layer_id == facts.layer_id:
                self._put_on_layer(path, layer_id, facts.size_bytes)
            else:
                shutil.copyfile(self.path(source), path)  # which is empty now
            self._finish(path, self.path(target), DISK_MODE)

    def _make_layer(self, source: Volume) -> None:
        """The file gets a second name, as a layer, and loses its first to an empty one on that layer.

        Cut off in between, the disk is as it was, and the second name goes when the disk does, or at the next start.
        """
        layer_id, size_bytes = uuid4(), self.facts(source).size_bytes
        file = self.path(layer(layer_id))
        with self._unfinished(self.path(source)) as path, self._unwritten(source):
            file.hardlink_to(self.path(source))
            try:
                sync(file.parent)
                self._put_on_layer(path, layer_id, size_bytes)
                self._finish(path, self.path(source), DISK_MODE)
            except BaseException:
                if file.samefile(self.path(source)):
                    file.unlink()
                raise
        self._permit(file, IMAGE_MODE)

    def _is_empty(self, volume: Volume) -> bool:
        with self._unwritten(volume), self.path(volume).open("rb") as file:
            return is_empty(file)

    @contextmanager
    def _unwritten(self, volume: Volume) -> Iterator[None]:
        """`InUse` where somebody has it open for writing."""
        with unwritten(self.path(volume)):
            yield

    @staticmethod
    def _put_on_layer(path: Path, layer_id: UUID | None, size_bytes: int) -> None:
        write_empty(path, size_bytes, (f"../{VolumeKind.LAYER}/{layer_id}.qcow2", ImageFormat.QCOW2))

    @contextmanager
    def _replacing(self, target: Volume) -> Iterator[None]:
        """A disk that is replaced may have been the last on its layers."""
        had_layer = self.path(target).exists() and self.facts(target).layer_id is not None
        yield
        if had_layer:
            self.remove_unused_layers()

    def replace(self, volume: Volume, image: Uploaded, size_bytes: int, progress: Progress) -> None:
        """The disk becomes what the image holds, with zeros after its end; on any error it stays.

        No running machine may have it open. `ImageRefused`, `PoolFull`.
        """
        with self._unfinished(self.path(volume)) as path, self._replacing(volume):
            with self._opened(volume, image, size_bytes, progress) as (source, rest):
                convert((source,), path, descriptors=(image.file.fileno(),), progress=rest)
            qemu_img("resize", "-q", "-f", "qcow2", str(path), str(whole_sectors(size_bytes)))
            self._finish(path, self.path(volume), DISK_MODE)

    def write_over(self, target: Path, volume: Volume, image: Uploaded, size_bytes: int, progress: Progress) -> None:
        """As `replace`, of the bytes of a raw file elsewhere, which is changed by whatever was done before an error."""
        with (
            self._unfinished(self.path(volume).with_suffix(".zeros")) as zeros,
            self._opened(volume, image, size_bytes, progress) as (source, rest),
        ):
            write_empty(zeros, whole_sectors(size_bytes))
            chain = (StoredFile(zeros, ImageFormat.QCOW2), source)
            overwrite(chain, target, descriptors=(image.file.fileno(),), progress=rest)

    @contextmanager
    def _opened(
        self, volume: Volume, image: Uploaded, size_bytes: int, progress: Progress
    ) -> Iterator[tuple[StoredFile, Progress]]:
        """What may be opened of it, and who is to be told of what is done with that. `ImageRefused`."""
        if image.format is ImageFormat.RAW:
            yield StoredFile(Path(f"/proc/self/fd/{image.file.fileno()}"), ImageFormat.RAW), progress
            return
        # A file of our own: whoever sent it could change its header after it has been looked at.
        with self._unfinished(self.path(volume).with_suffix(".uploaded")) as uploaded:
            with uploaded.open("wb", buffering=0) as own:
                uploaded.chmod(0o600)
                length = image.file.seek(0, os.SEEK_END)
                for start, end in data_ranges(image.file, length):
                    copy_range(image.file.fileno(), start, own.fileno(), start, end - start)
                own.truncate(length)
            inspect_image(uploaded, size_bytes, declared=ImageFormat.QCOW2)
            check_whole(uploaded)
            progress(HALF)
            yield StoredFile(uploaded, ImageFormat.QCOW2), lambda part: progress(HALF + HALF * part)

    @contextmanager
    def receiving(self, volume: Volume) -> Iterator[Path]:
        """A path that somebody else fills with a qcow2 file, which becomes the disk when the block ends well."""
        with self._unfinished(self.path(volume)) as unfinished:
            yield unfinished
            self._finish(unfinished, self.path(volume), DISK_MODE)

    @contextmanager
    def receiving_image(self, image_id: UUID) -> Iterator[Path]:
        """As `receiving`, for an image."""
        with self._unfinished(self._image_path(image_id, ImageFormat.QCOW2)) as unfinished:
            yield unfinished
            size_bytes = inspect_image(unfinished, self.max_image_bytes).size_bytes
            self._finish_image(image_id, unfinished, ImageFacts(ImageFormat.QCOW2, size_bytes, sha256_of(unfinished)))

    def ensure_size(self, volume: Volume, size_bytes: int) -> None:
        """At least this large; it never shrinks. A running machine grows its disks itself (`InUse`)."""
        if self.facts(volume).size_bytes < size_bytes:
            qemu_img("resize", "-q", "-f", "qcow2", str(self.path(volume)), str(whole_sectors(size_bytes)))

    def absent(self, volume: Volume) -> None:
        had_layer = False
        with suppress(NotThere, ImageRefused):
            had_layer = self.facts(volume).layer_id is not None
        remove(self.path(volume))
        if had_layer:
            self.remove_unused_layers()

    # Layers

    def layers(self) -> set[UUID]:
        return ids_in(self.folder / VolumeKind.LAYER)

    def remove_unused_layers(self, *, also_second_names: bool = False) -> None:
        """Those that nothing is based on. One that is being made has two names, and is left alone."""
        while unused := self._unused_layers(also_second_names=also_second_names):
            for layer_id in unused:
                remove(self.path(layer(layer_id)))

    def _unused_layers(self, *, also_second_names: bool) -> set[UUID]:
        """Looks at the names before what is based on them: who makes a layer does it in the same order."""
        found = set()
        for layer_id in self.layers():
            with suppress(FileNotFoundError):
                if also_second_names or self.path(layer(layer_id)).stat().st_nlink == 1:
                    found.add(layer_id)
        if not found:
            return found
        for folder in (VolumeKind.DISK, VolumeKind.LAYER):
            for path in (self.folder / folder).iterdir():
                with suppress(FileNotFoundError, ImageRefused), path.open("rb") as file:
                    backing = BACKING_NAME.fullmatch(read_qcow2_header(file).backing_file or "")
                    if backing is not None and backing[2]:
                        found.discard(UUID(backing[2]))
        return found

    def _volumes(self) -> list[Volume]:
        return [
            *(disk(found) for found in self.disks()),
            *(root_disk(found) for found in self.machines()),
            *(layer(found) for found in self.layers()),
        ]

    # Files

    def _image_path(self, image_id: UUID, image_format: ImageFormat) -> Path:
        return self.folder / IMAGES / f"{image_id}.{image_format}"

    def _facts_path(self, image_id: UUID) -> Path:
        return self.folder / IMAGES / f"{image_id}.json"

    def _permit(self, path: Path, mode: int) -> None:
        if self.group is not None:
            shutil.chown(path, group=self.group)
        path.chmod(mode)

    @contextmanager
    def _unfinished(self, final: Path) -> Iterator[Path]:
        """A file to fill before it gets its name; gone afterwards unless it got it."""
        unfinished = final.with_name(final.name + UNFINISHED)
        unfinished.unlink(missing_ok=True)
        try:
            with room_needed_for(final):
                yield unfinished
        finally:
            unfinished.unlink(missing_ok=True)

    def _finish(self, unfinished: Path, final: Path, mode: int) -> None:
        self._permit(unfinished, mode)
        sync(unfinished)
        unfinished.replace(final)
        sync(final.parent)

    def _finish_image(self, image_id: UUID, unfinished: Path, facts: ImageFacts) -> None:
        """The facts come first: an image counts as there when its own file is."""
        with self._unfinished(self._facts_path(image_id)) as written:
            written.write_text(json.dumps(asdict(facts)))
            self._finish(written, self._facts_path(image_id), IMAGE_MODE)
        self._finish(unfinished, self._image_path(image_id, facts.format), IMAGE_MODE)


def ids_in(folder: Path) -> set[UUID]:
    """Files of other names than ours are somebody else's."""
    found = set()
    for path in folder.iterdir():
        if path.suffix.lstrip(".") in STORED_FORMATS and re.fullmatch(UUID_TEXT, path.stem):
            found.add(UUID(path.stem))
    return found


def whole_sectors(size_bytes: int) -> int:
    if size_bytes <= 0:
        raise SizeTooSmall(f"a disk of {size_bytes} bytes is asked for; at least one is expected")
    return -(-size_bytes // SECTOR_BYTES) * SECTOR_BYTES


def node_of(chain: tuple[StoredFile, ...]) -> Node:
    """Exactly these files, each in the format that is known here."""
    options: dict[str, object] | None = None
    for stored in reversed(chain):
        options = open_options(stored.path, stored.format, backing=options)
    return Node(options or {})


def convert(
    chain: tuple[StoredFile, ...],
    target: Path,
    *,
    descriptors: tuple[int, ...] = (),
    progress: Progress | None = None,
) -> None:
    """A new qcow2 file with the content of these files."""
    _convert("-O", "qcow2", _shown(chain), str(target), descriptors=descriptors, progress=progress)


def overwrite(
    chain: tuple[StoredFile, ...],
    target: Path,
    *,
    is_zero: bool = False,
    descriptors: tuple[int, ...] = (),
    progress: Progress | None = None,
) -> None:
    """The content of these files at the beginning of a raw file that is at least as large; all is flushed at the end.

    `is_zero`: the target has zeros wherever it isn't written.
    """
    zeros = ("--target-is-zero",) if is_zero else ()
    how = ("-n", *zeros, "-t", "writeback", "-O", "raw")
    _convert(*how, _shown(chain), str(target), descriptors=descriptors, progress=progress)


def _convert(*arguments: str, descriptors: tuple[int, ...], progress: Progress | None) -> None:
    shows = "-q" if progress is None else "-p"
    qemu_img("convert", shows, *arguments, seconds=COPY_SECONDS, descriptors=descriptors, progress=progress)


def _shown(chain: tuple[StoredFile, ...]) -> str:
    return f"json:{json.dumps(node_of(chain).options)}"


@contextmanager
def unwritten(path: Path) -> Iterator[None]:
    """`InUse` where somebody has it open for writing; who opens it so meanwhile waits for the end of the block.

    By a lease of the kernel's, which tells that somebody waits by a signal that does nothing.
    """
    with path.open("rb") as file:
        fcntl.fcntl(file, F_SETSIG, signal.SIGURG)
        try:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except BlockingIOError as taken:
            raise InUse(f"{path.name} is open for writing") from taken
        yield


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    sync(path.parent)

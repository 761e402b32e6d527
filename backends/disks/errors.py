"""What can go wrong with images and disks, one class for each thing that somebody can do something about.

The messages are for people: they name the thing, the value and what was expected.
"""


class DiskError(Exception):
    """The base of all that this driver raises."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ImageRefused(DiskError):
    """The image is damaged, of an unknown format, too large, or refers to other files."""


class ChecksumMismatch(DiskError):
    """The bytes are not those that were promised."""


class DownloadFailed(DiskError):
    """The file could not be had from where it was said to be."""


class PoolFull(DiskError):
    """The file system of the pool has no room left; nothing half done stays behind."""


class NotThere(DiskError):
    """The image or disk that this needs isn't in the pool."""


class PoolMissing(DiskError):
    """The folder of the pool isn't here: its file system isn't mounted, or another one is. Nothing was looked at."""


class InUse(DiskError):
    """A running machine has it open, or a disk is based on it."""


class SizeTooSmall(DiskError):
    """A disk can't be smaller than what it is made from."""


class ToolFailed(DiskError):
    """A program failed in a way that none of the others describes."""


class TargetRefused(DiskError):
    """The target that is asked for can't be: an initiator's name, a secret, two writers."""


class TargetFailed(DiskError):
    """The kernel's target, or the library that drives it, answered with an error of its own."""

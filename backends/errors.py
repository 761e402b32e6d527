"""What can go wrong at the door, in few classes that mean something.

Every message is one sentence for the person who asked: it names the thing, the value and what was expected.
Each front-end maps these classes to its standard's statuses once, in one place.
"""


class CloudError(Exception):
    """The base of all that the door refuses."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotFound(CloudError):
    """No such thing, or it is somebody else's: the two must look the same."""


class NotAllowed(CloudError):
    """The caller may see it but not do this to it."""


class Invalid(CloudError):
    """A value is out of its range or form."""


class Conflict(CloudError):
    """Something that exists stands against it: a name taken, a disk in use."""


class NotApplicable(CloudError):
    """The action doesn't apply in the present state."""


class NoCapacity(CloudError):
    """No room for it, and waiting would not help: it exceeds every host."""


class OutOfRoom(CloudError):
    """No room for it now; it may come."""


class TryLater(CloudError):
    """Something that is under way must end first, which it will: the same request may be sent again soon."""


class DatabaseUnavailable(Exception):
    """PostgreSQL can't be reached, or went away in the middle: no refusal, the caller may try again."""


class Deadlocked(DatabaseUnavailable):
    """PostgreSQL took the change back, so that others who waited for it could go on."""

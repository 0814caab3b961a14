"""What can go wrong.

RebaseError
├─ TaskError            the task file is wrong: which field, what it holds, what is allowed
├─ RowIndexError        not an index, damaged, built by another encoder, nothing to build from
│  └─ RowIndexInterrupted the Hub, the network or the disk gave up while it was pushed: push again later
├─ TeacherError         the teacher could not be asked
│  ├─ TeacherRefused      it will never answer this request: 401, 403, 404, wrong model
│  └─ TeacherUnavailable  it may answer later: nothing listens, overloaded, no success for too long
├─ JournalError         the journal can't be written or read: disk full, read-only, damaged
├─ NoExamplesError      nothing passed the checks; carries why
├─ StudentError         a student can't be trained on, or loaded from, what was given
├─ PublishError         what was to be published must not be, or could not be
│  └─ PublishInterrupted  it may be published later: the Hub, the network or the disk gave up on the way
└─ MissingExtraError    an optional dependency is not installed

Every message says what is wrong (with the value), what was expected, and what to do about it.
"""

from collections.abc import Mapping
from importlib.util import find_spec


class RebaseError(Exception):
    """Any error that this package raises on purpose."""


class TaskError(RebaseError):
    """The task file is wrong."""


class RowIndexError(RebaseError):
    """The folder is not an index, is damaged, or does not fit the encoder or the request."""


class RowIndexInterrupted(RowIndexError):
    """The Hub, the network or the disk gave up while an index was pushed; the same push may be made again."""


class TeacherError(RebaseError):
    """The teacher could not be asked.

    Attributes:
        url: Where the teacher was asked, without credentials; None for a teacher that runs here.
        status: The HTTP status that said so, when there was one.
    """

    def __init__(self, message: str, *, url: str | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.url = url
        self.status = status


class TeacherRefused(TeacherError):
    """The teacher will never answer such a request: a wrong key, a wrong model, a wrong address."""


class TeacherUnavailable(TeacherError):
    """The teacher does not answer now; what was answered so far is kept, and a rerun goes on from there."""


class JournalError(RebaseError):
    """The journal can't be written or read."""


class NoExamplesError(RebaseError):
    """Not one example passed the checks.

    Attributes:
        dropped: How many outputs or rows were dropped, by reason.
    """

    def __init__(self, message: str, *, dropped: Mapping[str, int]) -> None:
        super().__init__(message)
        self.dropped = dict(dropped)


class StudentError(RebaseError):
    """A student can't be trained on, or loaded from, what was given."""


class PublishError(RebaseError):
    """What was to be published must not be, or could not be."""


class PublishInterrupted(PublishError):
    """The Hub, the network or this machine's disk gave up on the way; the same push may be made again."""


class MissingExtraError(RebaseError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f'{what} needs the extra `{extra}`. Install it with: pip install "rebase-hf[{extra}]"')
        self.extra = extra


def require(module: str, *, what: str, extra: str) -> None:
    """Raise MissingExtraError when `module` is not installed; a broken install still shows its own traceback."""
    if find_spec(module) is None:
        raise MissingExtraError(what, extra)

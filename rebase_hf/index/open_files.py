"""Many memory maps are many open files, and a process may have but so many."""

import logging
import sys

logger = logging.getLogger(__name__)

_OTHERS = 256  # what else a process has open


def allow_open_files(count: int) -> None:
    """Let this process open so many files beside what it has open anyway, as far as the system lets it.

    The soft limit (often 1,024, on a Mac 256) is there to be raised by whom it is too low for; the hard one stays.
    """
    if sys.platform == "win32":  # which has no such limit for memory maps
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _OTHERS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if allowed < wanted:
        logger.warning("This needs %d open files, the system allows %d. Raise the limit (ulimit -n).", wanted, hard)
    if allowed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))

"""The memory of this process, as Linux tells it."""

from pathlib import Path


def peak_mib() -> float:
    """Return the most that it held."""
    return _status("VmHWM:")


def resident_mib() -> float:
    """Return what it holds."""
    return _status("VmRSS:")


def _status(name: str) -> float:
    return int(Path("/proc/self/status").read_text().split(name)[1].split()[0]) / 1024

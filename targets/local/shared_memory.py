"""System V shared memory that PostgreSQL leaves when it is killed: 56 bytes that outlive their processes.

Standard library only, so that a guardian can sweep after a run without loading a target.
"""

import ctypes
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TABLE: Final = Path("/proc/sysvipc/shm")
_HEADER_BYTES: Final = 56  # PostgreSQL keeps no more than a header there
_NOBODY: Final = 65534
_IPC_RMID: Final = 0


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of the kernel's table."""

    id: int
    bytes: int
    creator: int  # process id
    user: int
    changed: float  # seconds since the epoch, whole


def sweep(since: float, table: Path = _TABLE) -> list[int]:
    """Free what a killed PostgreSQL of a run left; returns the ids.

    A segment is taken for such when it has the size of PostgreSQL's header, belongs to the user that runs it, came up
    since the run began, and the server that made it is dead; a child that is about to notice may still use it until
    then. Freeing it costs PostgreSQL nothing: it makes a new one at each start.

    Parameters
    ----------
    since
        Wall-clock time at which the run began, seconds.
    table
        The kernel's table of segments.
    """
    left = [segment for segment in segments(table) if _is_left(segment, since)]
    for segment in left:
        free(segment.id)
    return [segment.id for segment in left]


def segments(table: Path = _TABLE) -> Iterator[Segment]:
    """Yield the kernel's segments; none where it has no such table."""
    lines = table.read_text().splitlines() if table.exists() else ["shmid"]
    names = lines[0].split()
    for line in lines[1:]:
        row = dict(zip(names, line.split(), strict=True))
        yield Segment(
            id=int(row["shmid"]),
            bytes=int(row["size"]),
            creator=int(row["cpid"]),
            user=int(row["uid"]),
            changed=float(row["ctime"]),
        )


def free(segment: int) -> None:
    """Free a segment, or let the kernel do it once nothing uses it; nothing to do when it is gone.

    Raises
    ------
    OSError
        When the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.shmctl(segment, _IPC_RMID, None) != 0 and ctypes.get_errno() not in {errno.EINVAL, errno.EIDRM}:
        raise OSError(ctypes.get_errno(), f"cannot free the shared memory segment {segment}")


def _is_left(segment: Segment, since: float) -> bool:
    ours = segment.user == (_NOBODY if os.geteuid() == 0 else os.geteuid()) and segment.bytes == _HEADER_BYTES
    return ours and segment.changed >= int(since) and not _lives(segment.creator)


def _lives(pid: int) -> bool:
    """Tell whether a process can still use memory: one that ended and waits for its parent cannot."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}

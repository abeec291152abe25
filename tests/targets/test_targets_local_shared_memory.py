"""Sweeping up the shared memory of killed databases."""

import os

import pytest

from targets.local import shared_memory

HEADER = "key shmid perms size cpid lpid nattch uid gid cuid cgid atime dtime ctime rss swap\n"
USER = 65534 if os.geteuid() == 0 else os.geteuid()
NOBODY_LIVES_HERE = 4_194_305  # beyond the greatest process id of any kernel


@pytest.fixture
def freed(monkeypatch):
    ids = []
    monkeypatch.setattr(shared_memory, "free", ids.append)
    return ids


def table(tmp_path, *rows):
    path = tmp_path / "shm"
    path.write_text(HEADER + "".join(rows))
    return path


def row(number=7, *, size=56, creator=NOBODY_LIVES_HERE, user=USER, changed=1000):
    return f"1 {number} 600 {size} {creator} 1 0 {user} 0 {user} 0 0 0 {changed} 0 0\n"


def test_a_dead_database_is_swept(tmp_path, freed):
    """A header from the run's time whose creator is dead is freed."""
    assert shared_memory.sweep(1000.7, table(tmp_path, row(7), row(8))) == [7, 8]
    assert freed == [7, 8]


@pytest.mark.parametrize(
    "kept",
    [{"size": 4096}, {"creator": os.getpid()}, {"user": USER + 1}, {"changed": 999}],
    ids=lambda kept: next(iter(kept)),
)
def test_what_may_be_somebody_elses_is_kept(tmp_path, freed, kept):
    """Other sizes, users and times, and those of living creators, are left alone."""
    assert shared_memory.sweep(1000.7, table(tmp_path, row(**kept))) == []
    assert freed == []


def test_a_kernel_without_the_table_has_nothing_to_sweep(tmp_path):
    """No table, no segments."""
    assert shared_memory.sweep(0.0, tmp_path / "none") == []


def test_the_kernels_own_table_can_be_read():
    """The real table has the columns that are read."""
    assert all(segment.bytes >= 0 for segment in shared_memory.segments())


def test_freeing_a_segment_that_is_gone_is_fine():
    """Somebody may have been faster."""
    shared_memory.free(2_147_483_647)

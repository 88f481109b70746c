"""The lock of a run folder where the system has no ``fcntl``: by ``msvcrt``, or by a second file."""

import fcntl
import sys
from types import SimpleNamespace

import pytest

from tsar.errors import CheckpointError
from tsar.training.lock import HELD, LOCK, run_lock


def lock_byte(descriptor, mode, count):
    """What ``msvcrt.locking`` does with LK_NBLCK, by the lock that this system has."""
    assert (mode, count) == (2, 1)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise PermissionError(13, "Permission denied") from error


@pytest.fixture(params=["fcntl", "msvcrt", "none"])
def system(request, monkeypatch):
    if request.param != "fcntl":
        monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows: importing it fails
    if request.param == "msvcrt":
        monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(LK_NBLCK=2, locking=lock_byte))
    return request.param


def test_a_second_run_is_refused_and_a_later_one_is_not(system, tmp_path):
    for _ in range(2):
        with run_lock(tmp_path):
            with pytest.raises(CheckpointError) as caught, run_lock(tmp_path):
                pass
            assert caught.value.code == "checkpoint.busy"
            assert (tmp_path / LOCK).exists()
        assert list(tmp_path.iterdir()) == []


def test_without_any_lock_of_the_system_a_killed_run_leaves_a_file_that_the_message_names(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", None)
    (tmp_path / HELD).touch()
    with pytest.raises(CheckpointError, match=f"remove .*{HELD}"), run_lock(tmp_path):
        pass
    assert (tmp_path / HELD).exists(), "it is another run's, as far as we know"


def test_an_error_within_gives_the_lock_back(system, tmp_path):
    with pytest.raises(ZeroDivisionError), run_lock(tmp_path):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []

"""Messages and bars are silent until somebody asks for them."""

import logging
import sys

import pytest

from tsar.logging import get_logger, log_to_terminal, progress_bar


@pytest.fixture(autouse=True)
def logger_as_imported():
    root = logging.getLogger("tsar")
    handlers, level = list(root.handlers), root.level
    root.handlers[:] = [handler for handler in handlers if isinstance(handler, logging.NullHandler)]
    root.setLevel(logging.NOTSET)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_loggers_stand_below_tsar():
    assert get_logger("tsar.decode").name == "tsar.decode"
    assert get_logger("__main__").name == "tsar.__main__"


def test_library_is_silent(capsys):
    get_logger("tsar.decode").warning("nobody asked")
    assert capsys.readouterr() == ("", "")


def test_messages_show_once_after_asking(capsys):
    log_to_terminal()
    log_to_terminal()
    get_logger("tsar.decode").info("ready")
    assert capsys.readouterr().err.count("ready") == 1


def test_bar_needs_a_terminal_or_a_wish(capsys, monkeypatch):
    assert list(progress_bar(range(3), desc="quiet")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    assert list(progress_bar(range(3), desc="shown", show=True)) == [0, 1, 2]
    assert "shown: 100%" in capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(progress_bar(range(3), desc="terminal")) == [0, 1, 2]
    assert "terminal: 100%" in capsys.readouterr().err
    assert list(progress_bar(range(3), desc="refused", show=False)) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_bar_moves_by_hand():
    with progress_bar(total=10, initial=4, show=False) as bar:
        assert (bar.total, bar.n) == (10, 4)

"""Progress in a notebook."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from packlight.runtime.progress import notebook_progress, silent


class ZMQInteractiveShell:
    """Named as the shell of a notebook's kernel."""


@pytest.fixture
def shown(monkeypatch):
    """What a notebook would show, oldest first."""
    pieces = []
    handle = SimpleNamespace(update=pieces.append)

    def display(piece, *, display_id):
        assert display_id
        pieces.append(piece)
        return handle

    ipython = ModuleType("IPython")
    ipython.get_ipython = ZMQInteractiveShell
    module = ModuleType("IPython.display")
    module.HTML = str
    module.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return pieces


def test_a_notebook_shows_a_bar_and_removes_it(shown):
    with notebook_progress(None) as progress:
        progress("<b>: latency", 3, 12)
    assert '<progress value="3" max="12"></progress> &lt;b&gt;: latency' in shown
    assert shown[-1] == ""


def test_a_given_progress_is_used_everywhere(shown):
    with notebook_progress(print) as progress:
        assert progress is print
    assert shown == []


def test_elsewhere_nothing_is_shown():
    with notebook_progress(None) as progress:
        assert progress is silent

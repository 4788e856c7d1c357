"""Work in a copy of this process gives what it would give here."""

import os
import signal
import subprocess
import sys

import pytest

from packlight.errors import RecipeError
from packlight.runtime.isolation.fork import forked

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="systems that fork")


def test_the_result_comes_from_another_process():
    with forked(os.getpid) as result:
        assert result() != os.getpid()


def test_an_error_is_raised_where_the_result_is_asked_for():
    def fails():
        raise RecipeError("no such step")

    with forked(fails) as result, pytest.raises(RecipeError, match="no such step"):
        result()


def test_what_nobody_waits_for_ends_with_its_block():
    with forked(signal.pause) as result:
        pass

    with pytest.raises(OSError, match="closed"):
        result()


def test_a_signal_that_ends_the_copy_ends_this_process_too():
    code = (
        "import os\n"
        "from packlight.runtime.isolation.fork import forked\n"
        "with forked(lambda: os.kill(os.getpid(), 24)) as result:\n"
        "    result()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)

    assert done.returncode == -24

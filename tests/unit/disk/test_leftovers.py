"""What killed processes leave is removed; what live ones, others and nobody have is not."""

import os
import subprocess
import sys
import time

import pytest

from packlight.disk import leftovers, replacing, scratch_folder, sweep, temporary_name

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc of Linux")
NAME = "from packlight.disk import temporary_name; print(temporary_name('.npz'))"


def of_the_dead():
    done = subprocess.run([sys.executable, "-c", NAME], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def parts(**changed):
    """A name of this process with other parts."""
    host, pid, start, rest = temporary_name().removeprefix("packlight-").split("-")
    own = {"host": host, "pid": pid, "start": start, "rest": rest, **changed}
    return "packlight-{host}-{pid}-{start}-{rest}".format(**own)


def test_two_names_differ_and_both_tell_their_writer():
    first, second = temporary_name(), temporary_name(".npz")

    assert first.rpartition("-")[2] != second.rpartition("-")[2].removesuffix(".npz")
    for name in (first, f".{second}"):
        assert leftovers.NAME.fullmatch(name)
        assert f"-{os.getpid()}-" in name


def test_files_and_folders_of_the_dead_go_and_the_rest_stays(tmp_path):
    (tmp_path / of_the_dead()).write_text("half")
    (tmp_path / f".{of_the_dead()}").mkdir()
    kept = [temporary_name(), "packlight-notes", "packlight-0-0-0-0", "packlight.db"]
    for name in kept:
        (tmp_path / name).write_text("kept")

    sweep(tmp_path)

    assert names(tmp_path) == sorted(kept)


def test_a_process_that_got_the_id_of_a_dead_one_is_not_its_writer(tmp_path):
    (tmp_path / parts(start="1")).mkdir()

    sweep(tmp_path)

    assert names(tmp_path) == []


def test_what_another_container_writes_stays_for_a_day(tmp_path):
    """Its processes have ids of their own, which say nothing here."""
    (tmp_path / parts(host="0" * 8, pid="1")).mkdir()

    sweep(tmp_path)
    assert len(names(tmp_path)) == 1
    sweep(tmp_path, time.time() + leftovers.FOREIGN_SECONDS + 60)
    assert names(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to another user")
def test_what_another_user_left_stays(tmp_path):
    path = tmp_path / of_the_dead()
    path.mkdir()
    os.chown(path, 65534, 65534)

    sweep(tmp_path)

    assert names(tmp_path) == [path.name]


def test_a_link_of_such_a_name_is_removed_and_not_followed(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("x")
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / of_the_dead()).symlink_to(tmp_path / "precious")

    sweep(tmp_path / "place")

    assert names(tmp_path / "place") == []
    assert names(tmp_path / "precious") == ["thesis.tex"]


@pytest.mark.parametrize(
    "killed",
    ["with scratch_folder() as folder:", "with replacing(here / 'out.csv') as file:",
     "with folder_beside(here / 'm.onnx') as folder:"],
)  # fmt: skip
def test_a_killed_writer_leaves_something_only_until_the_next_one_starts(killed, tmp_path):
    code = (
        "import os, pathlib, signal\n"
        "from packlight.disk import folder_beside, replacing, scratch_folder\n"
        f"here = pathlib.Path({str(tmp_path)!r})\n{killed}\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=False, env=environment)
    assert len(names(tmp_path)) == 1

    if "scratch" in killed:
        again = "from packlight.disk import scratch_folder\nwith scratch_folder(): pass"
        subprocess.run([sys.executable, "-c", again], check=True, env=environment)
    else:
        with replacing(tmp_path / "b.csv") as file:
            file.write(b"whole")
        assert (tmp_path / "b.csv").read_bytes() == b"whole"
        (tmp_path / "b.csv").unlink()

    assert names(tmp_path) == []


def test_a_scratch_folder_is_of_this_user_alone_and_goes_at_the_end():
    with scratch_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "a").write_text("x")
    assert not folder.exists()

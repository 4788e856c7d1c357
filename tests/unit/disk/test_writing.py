"""A file is complete or not there, no link is followed, and a failure says what and why."""

import errno
import os
import stat
import subprocess
from pathlib import Path

import pytest

from packlight.disk import (
    disk_reason,
    folder_beside,
    new_file,
    no_follow,
    replacing,
    scratch_folder,
)
from packlight.errors import InputError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_at_the_end(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("before")
    with replacing(path) as file:
        file.write(b"after")
        file.flush()
        assert path.read_text() == "before"

    assert path.read_text() == "after"
    assert names(tmp_path) == ["a.csv"]


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(b"half")
        raise ZeroDivisionError

    assert path.read_text() == "before"
    assert names(tmp_path) == ["a.csv"]


def test_a_link_in_the_place_is_replaced_and_what_it_leads_to_stays(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "report.html").symlink_to(tmp_path / "victim")
    with replacing(tmp_path / "report.html") as file:
        file.write(b"report")

    assert (tmp_path / "victim").read_text() == "precious"
    assert not (tmp_path / "report.html").is_symlink()


@pytest.mark.parametrize("opener", [new_file, no_follow])
def test_no_opener_writes_through_a_link(opener, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "victim")

    with pytest.raises(OSError, match=r"link|exists"), open(tmp_path / "link", "w", opener=opener):
        pass

    assert not (tmp_path / "victim").exists()


def test_nobody_can_prepare_the_temporary_name(tmp_path, monkeypatch):
    """Even if one is guessed, a link there is an error and nothing is written through it."""
    (tmp_path / ".guessed").symlink_to(tmp_path / "victim")
    monkeypatch.setattr("packlight.disk.writing.temporary_name", lambda: "guessed")

    with pytest.raises(InputError), replacing(tmp_path / "a.csv") as file:
        file.write(b"x")

    assert not (tmp_path / "victim").exists()


def test_what_must_not_be_replaced_is_not(tmp_path):
    with replacing(tmp_path / "task.py", overwrite=False) as file:
        file.write(b"first")
    with (
        pytest.raises(InputError, match="exists; name another"),
        replacing(tmp_path / "task.py", overwrite=False) as file,
    ):
        file.write(b"second")

    assert (tmp_path / "task.py").read_text() == "first"
    assert names(tmp_path) == ["task.py"]


def test_where_there_are_no_hard_links_a_new_file_is_renamed(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with replacing(tmp_path / "task.py", overwrite=False) as file:
        file.write(b"first")
    with (
        pytest.raises(InputError, match="exists"),
        replacing(tmp_path / "task.py", overwrite=False),
    ):
        pass

    assert names(tmp_path) == ["task.py"]


def test_a_new_file_has_the_rights_of_the_users_mask(tmp_path):
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "a.csv") as file:
            file.write(b"x")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "a.csv").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota is used up"),
        (errno.EROFS, "can only be read"),
        (errno.EACCES, "permission is denied"),
        (errno.EFBIG, "larger than the limit"),
    ],
)
def test_a_failed_write_names_its_file_and_says_why(number, sentence, tmp_path):
    for make in (replacing, folder_beside):
        with (
            pytest.raises(InputError, match=rf"m\.onnx' cannot be written: .*{sentence}"),
            make(tmp_path / "m.onnx"),
        ):
            raise OSError(number, os.strerror(number))
    with (
        pytest.raises(InputError, match=rf"temporary files .*{sentence}.*TMPDIR"),
        scratch_folder(),
    ):
        raise OSError(number, os.strerror(number))
    assert "copy" not in disk_reason(OSError(number, ""))
    assert names(tmp_path) == []


def test_an_error_about_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="other"), replacing(tmp_path / "a.csv"):
        (tmp_path / "other").read_bytes()


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of 64 kB, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    done = subprocess.run(command, check=False, capture_output=True)
    if done.returncode:
        pytest.skip("only root mounts a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_called_so(tiny_disk):
    with (
        pytest.raises(InputError, match=r"a\.csv' cannot be written: the disk is full"),
        replacing(tiny_disk / "a.csv") as file,
    ):
        file.write(bytes(10**6))

    assert names(tiny_disk) == []

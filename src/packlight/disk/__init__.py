"""Files: written beside their place and renamed, temporary ones that tell who writes them."""

from packlight.disk.leftovers import remove, sweep, temporary_name
from packlight.disk.reasons import disk_reason, is_refusal, unwritable
from packlight.disk.writing import (
    check_output_path,
    folder_beside,
    new_file,
    no_follow,
    replacing,
    scratch_folder,
    temporary_folder,
)

__all__ = [
    "check_output_path",
    "disk_reason",
    "folder_beside",
    "is_refusal",
    "new_file",
    "no_follow",
    "remove",
    "replacing",
    "scratch_folder",
    "sweep",
    "temporary_folder",
    "temporary_name",
    "unwritable",
]

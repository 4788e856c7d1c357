"""All errors, as one tree.

PacklightError
├── InputError         what the user gave cannot be used; the command line exits with 2
│   ├── ModelError     the model is damaged, hostile or not supported
│   ├── TaskError      the task's data or functions do not fit the model
│   │   └── UndefinedError  a metric has no value on these samples
│   ├── RecipeError    a recipe or budget does not parse, or names what does not exist
│   ├── DeviceError    a device does not exist, or its description does not hold
│   └── ExportError     a format cannot hold the model; its ``refusals`` say what and why
└── CheckError         the result failed its own check: a defect of packlight; please report it

Every message says what must hold, what came, where, and what to do.
"""

from __future__ import annotations


class PacklightError(Exception):
    """Base of all errors that packlight raises on purpose."""


class InputError(PacklightError):
    """What the user gave cannot be used as it is."""


class ModelError(InputError):
    """The model is damaged, hostile or not supported."""


class TaskError(InputError):
    """The task's data or functions do not fit the model."""


class UndefinedError(TaskError):
    """A metric has no value on these samples, such as an AUC where all are of one class."""


class RecipeError(InputError):
    """A recipe or a budget does not parse, or names what does not exist."""


class DeviceError(InputError):
    """A device does not exist, or its description does not hold."""


class ExportError(InputError):
    """A format cannot hold the model as it is.

    Args:
        message: for people.
        refusals: an ``ExportRefusal`` for each weight or operator.
    """

    def __init__(self, message: str, refusals: tuple[object, ...] = ()) -> None:
        super().__init__(message)
        self.refusals = refusals


class CheckError(PacklightError):
    """A result failed packlight's own check."""

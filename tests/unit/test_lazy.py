"""Public names load on first use, and modules of the same name do not hide them."""

from importlib import import_module
from types import FunctionType

import pytest


@pytest.mark.parametrize(
    ("package", "name"),
    [("packlight.workflow", "fit"), ("packlight.runtime", "ahead"), ("packlight", "profile")],
)
def test_a_name_is_not_hidden_by_a_module_of_its_name(package, name):
    import_module(f"{package}.{name}")

    assert isinstance(getattr(import_module(package), name), FunctionType)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        import_module("packlight.workflow").nothing  # noqa: B018

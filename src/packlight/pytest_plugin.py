"""Plug-in for pytest: the ``packlight`` fixture asserts budgets in a test suite.

It loads with every run of pytest where packlight is installed, so it imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from packlight.records import Gate, Unclear
    from packlight.sources.opening import AnyModel, AnyTask


class BudgetChecks:
    """Checks of budgets, with the settings of ``[tool.packlight]`` as defaults.

    Attributes:
        folder: where the settings are looked for, and above it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def check(
        self,
        base: AnyModel,
        new: AnyModel,
        budgets: Sequence[str] | None = None,
        task: AnyTask | None = None,
        *,
        unclear: Unclear | None = None,
        tolerance: float | None = None,
    ) -> Gate:
        """Assert that a new model keeps its budgets.

        Args:
            base: the reference.
            new: the model to check.
            budgets: as ``["size<=2MB", "drop<=1%"]``; those of the settings by default.
            task: samples and metric; that of the settings by default.
            unclear: treatment of budgets that the samples do not decide.
            tolerance: share by which bounds are widened.

        Returns:
            The checked budgets.

        Raises:
            AssertionError: a budget fails; the message has a line for each budget.
            InputError: a model, the task or a budget cannot be used.
        """
        from packlight import check  # noqa: PLC0415 - loads only in tests that use it
        from packlight.sources.settings import find_settings, overridden  # noqa: PLC0415

        settings = overridden(
            find_settings(self.folder), budgets=budgets, unclear=unclear, tolerance=tolerance
        )
        gate = check(
            base,
            new,
            settings.budgets,
            task or settings.task or None,
            unclear=settings.unclear,
            tolerance=settings.tolerance,
            options=settings.session(),
            seed=settings.seed,
            seconds=settings.seconds,
        )
        assert gate.passed, str(gate)
        return gate


@pytest.fixture(scope="session")
def packlight(pytestconfig: pytest.Config) -> BudgetChecks:
    """Check budgets of models: ``packlight.check("main.onnx", "new.onnx", ["size<=1.02x"])``."""
    return BudgetChecks(pytestconfig.rootpath)

"""A network in the form of a recipe's file, for training loops of one's own."""

from __future__ import annotations

from pathlib import Path

import torch

from packlight import runtime
from packlight.compression.training.optimizer import sized_rates
from packlight.compression.training.student import Student, training_obstacle
from packlight.errors import RecipeError
from packlight.model import Model, load
from packlight.model.save import write_model
from packlight.records.session import SessionOptions
from packlight.torch.values import Tensor


class Prepared(torch.nn.Module):
    """A module whose weights are, in every forward pass, those that the compressed file holds.

    Gradients pass the rounding as if it were not there. Codes, tables, scales, weights that stay
    floats, biases and norms are parameters; what is pruned stays so. Training mode changes nothing:
    normalizations use the stored statistics, and dropout passes its input on.

    Args:
        student: computes the compressed model.
        original: the model before the recipe.
        compressed: the model that the recipe made; stays as it is.

    Attributes:
        original: the model before the recipe.
        input_names: of the inputs that a call needs, in order.
        output_names: of the outputs, in order.
    """

    def __init__(self, student: Student, original: Model, compressed: Model) -> None:
        super().__init__()
        self.original = original
        self.input_names = student.module.input_names
        self.output_names = student.module.output_names
        self.network = student.module
        self._student = student
        self._compressed = compressed

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the network.

        Args:
            inputs: in the order of ``input_names``.
            named: by name.

        Returns:
            The output, or a tuple of several.

        Raises:
            InputError: an input is missing, or there is none of that name.
        """
        outputs = self.network(*inputs, **named)
        if len(outputs) == 1:
            single: Tensor = outputs[0]
            return single
        return tuple(outputs)

    def parameter_groups(self, rate: float, codes_rate: float = 0.02) -> list[dict[str, object]]:
        """Groups for an optimizer: each tensor with a rate that goes with its size.

        Args:
            rate: of tables, scales, biases, norms and weights that stay floats, as a share of each
                tensor's root mean square.
            codes_rate: of weights in codes, as a share of their rounding error.
        """
        tensors = self._student.tensors()
        rates = sized_rates(tensors, self._student.rates(codes_rate, rate))
        return [{"params": [tensor], "lr": own} for tensor, own in zip(tensors, rates, strict=True)]

    def finish(self, out: str | Path) -> int:
        """Write the compressed file with what was learned; it is opened once before.

        Args:
            out: path of the ONNX file; an existing file is replaced once the new one is complete.

        Returns:
            Bytes written, external data included.

        Raises:
            InputError: the path cannot be written, or ONNX Runtime does not open the file.
        """
        return write_model(self.compressed(), Path(out), frozenset(), _open_once)

    def compressed(self) -> Model:
        """The model in the form of the recipe's file, with what was learned so far."""
        model = Model(self._compressed.clone(), self._compressed.name)
        self._student.write(model.graph)
        return model


def _open_once(path: Path) -> None:
    runtime.open_session(load(path), SessionOptions())


def check_trainable(model: Model) -> None:
    """Check that gradients can reach the weights of a compressed model.

    Raises:
        RecipeError: an operator cannot be computed in PyTorch, or computes in integers.
    """
    obstacle = training_obstacle(model)
    if obstacle is not None:
        raise RecipeError(f"'{model.name}': {obstacle.reason}; {obstacle.remedy}")

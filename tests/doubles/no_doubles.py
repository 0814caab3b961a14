"""A stand-in for a GPU without double precision, such as Apple's."""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class NoDoublesOnDevice(TorchFunctionMode):
    """While it is entered, a tensor must have been brought to the CPU (`.cpu()`) before it is made double.

    Everything here is on the CPU, so tensors that were brought there are remembered.
    """

    def __init__(self) -> None:
        super().__init__()
        self.brought: list[torch.Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = args[0] if args and isinstance(args[0], torch.Tensor) else None
        if func is torch.Tensor.double and not any(given is one for one in self.brought):
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype.")
        result = func(*args, **(kwargs or {}))
        if func is torch.Tensor.cpu:
            self.brought.append(result)
        return result

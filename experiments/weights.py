"""Weights on their way between processes: named arrays that every pickler and Ray's object store take as they are.

Tensors of bfloat16 have no numpy counterpart: they travel as the int16 numbers with the same bits. Nothing is ever
converted, so that weights come out as they went in, to the bit.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, slots=True)
class PackedTensor:
    """A tensor as an array with the same bits and the name of its real type."""

    bits: NDArray[np.generic]
    dtype: str

    @classmethod
    def pack(cls, tensor: Tensor) -> "PackedTensor":
        """Return a copy of the tensor's value on the CPU."""
        value = tensor.detach().cpu()
        name = str(value.dtype).removeprefix("torch.")
        # A copy, because the learner goes on changing its tensors in place.
        bits = (value.view(torch.int16) if value.dtype == torch.bfloat16 else value).numpy().copy()
        return cls(bits, name)

    def unpack(self) -> Tensor:
        """Return a new tensor."""
        return torch.from_numpy(self.bits.copy()).view(getattr(torch, self.dtype))


Weights = Mapping[str, PackedTensor]


def pack_weights(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, PackedTensor]:
    """Return named tensors as arrays."""
    return {name: PackedTensor.pack(tensor) for name, tensor in tensors}


@torch.no_grad()
def load_weights(tensors: Iterable[tuple[str, Tensor]], weights: Weights) -> None:
    """Copy `weights` into the tensors of the same names, in place.

    Raises:
        ValueError: The names or types differ: the weights are those of another model.
    """
    targets = dict(tensors)
    if targets.keys() != weights.keys():
        different = sorted(targets.keys() ^ weights.keys())
        raise ValueError(f"weights of another model: {len(different)} names differ, the first is {different[0]!r}")
    for name, target in targets.items():
        value = weights[name].unpack()
        if value.dtype != target.dtype or value.shape != target.shape:
            raise ValueError(
                f"weights of another model: {name!r} is {value.dtype} {tuple(value.shape)} there "
                f"and {target.dtype} {tuple(target.shape)} here"
            )
        target.copy_(value)

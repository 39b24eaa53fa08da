import pickle

import pytest
import torch

from videozoom.experiments.weights import PackedTensor, load_weights, pack_weights


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int64])
def test_tensors_come_out_as_they_went_in(dtype: torch.dtype) -> None:
    tensor = (torch.randn(3, 5, generator=torch.Generator().manual_seed(0)) * 100).to(dtype)
    packed: PackedTensor = pickle.loads(pickle.dumps(PackedTensor.pack(tensor)))
    back = packed.unpack()
    assert back.dtype == dtype
    assert torch.equal(back, tensor)


def test_weights_do_not_change_with_the_model_they_came_from() -> None:
    parameter = torch.ones(2)
    weights = pack_weights([("a", parameter)])
    parameter.zero_()
    target = torch.zeros(2)
    load_weights([("a", target)], weights)
    target.add_(1)
    assert weights["a"].unpack().tolist() == [1.0, 1.0]


def test_weights_are_copied_into_the_tensors_in_place() -> None:
    target = torch.nn.Parameter(torch.zeros(2))
    load_weights([("a", target)], pack_weights([("a", torch.tensor([1.0, 2.0]))]))
    assert target.tolist() == [1.0, 2.0]
    assert target.requires_grad


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (("b", torch.zeros(2)), "2 names differ, the first is 'a'"),
        (("a", torch.zeros(3)), r"'a' is torch.float32 \(2,\) there and torch.float32 \(3,\) here"),
        (("a", torch.zeros(2, dtype=torch.bfloat16)), "torch.bfloat16"),
    ],
)
def test_weights_of_another_model_are_refused(target: tuple[str, torch.Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_weights([target], pack_weights([("a", torch.zeros(2))]))

import logging

import pytest
import torch
from attention_trees import random_inputs
from torch import Tensor

from videozoom.policies import attention_backends, attention_cpu, attention_cpu_tree, attention_probe
from videozoom.policies.attention_backends import AttentionBackendError, backend_for, merge, merge_
from videozoom.policies.attention_cpu import CpuBackend
from videozoom.policies.attention_reference import ReferenceBackend

CPU = torch.device("cpu")
BACKENDS = [CpuBackend(), ReferenceBackend()]


@pytest.fixture
def fresh_backends():
    """Forget what was probed, before and after."""
    attention_backends._backend_for.cache_clear()
    yield
    attention_backends._backend_for.cache_clear()


def written_out(query: Tensor, key: Tensor, value: Tensor, scaling: float, bias: Tensor) -> tuple[Tensor, Tensor]:
    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    scores = query @ key.mT * scaling + bias
    return scores.softmax(-1).nan_to_num(0.0) @ value, scores.logsumexp(-1)


def batch(num: int, length: int, num_keys: int, *, heads: int = 4, kv_heads: int = 2) -> list[Tensor]:
    inputs = [
        random_inputs(length, num_keys, heads=heads, kv_heads=kv_heads, dtype=torch.float64, seed=i)[:3]
        for i in range(num)
    ]
    return [torch.cat(parts).detach() for parts in zip(*inputs, strict=True)]


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
@pytest.mark.parametrize("num", [1, 3])
@pytest.mark.parametrize(("length", "is_causal"), [(9, True), (9, False), (1, False)])
def test_attention_and_its_log_sum_exp(backend, num: int, length: int, is_causal: bool) -> None:
    query, key, value = batch(num, length, 9)
    bias = torch.zeros(length, 9, dtype=torch.float64)
    if is_causal:
        bias = bias.masked_fill(torch.ones(9, 9, dtype=torch.bool).triu(1), float("-inf"))
    found = backend.forward(query, key, value, is_causal=is_causal, scaling=0.3)
    for a, b in zip(found, written_out(query, key, value, 0.3, bias), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
@pytest.mark.parametrize("shape", [(1, 1, 1, 700), (3, 1, 1, 700), (1, 1, 5, 700), (3, 1, 5, 700)])
@pytest.mark.parametrize("is_bool", [True, False])
def test_masks(backend, shape: tuple[int, ...], is_bool: bool) -> None:
    query, key, value = batch(3, 5, 700)
    is_seen = torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.2
    # Keys come to the kernel in blocks of 512: one sees only the second, one nothing at all.
    is_seen[0, 0, 0, :600] = False
    is_seen[-1, 0, -1] = False
    bias = torch.zeros(shape, dtype=torch.float64).masked_fill(~is_seen, float("-inf"))
    found = backend.forward(query, key, value, is_causal=False, scaling=0.3, mask=is_seen if is_bool else bias)
    out, lse = written_out(query, key, value, 0.3, bias)
    torch.testing.assert_close(found[0], out, rtol=0, atol=1e-12)
    torch.testing.assert_close(found[1], lse, rtol=0, atol=1e-12)
    assert (found[1] == float("-inf")).any()


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_a_mask_on_top_of_a_causal_one(backend) -> None:
    query, key, value = batch(2, 6, 6)
    mask = torch.ones(2, 1, 1, 6, dtype=torch.bool)
    mask[1, ..., :2] = False
    hidden = ~mask | torch.ones(6, 6, dtype=torch.bool).triu(1)
    bias = torch.zeros(hidden.shape, dtype=torch.float64).masked_fill(hidden, float("-inf"))
    found = backend.forward(query, key, value, is_causal=True, scaling=0.3, mask=mask)
    for a, b in zip(found, written_out(query, key, value, 0.3, bias), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
@pytest.mark.parametrize("is_first_causal", [True, False])
def test_gradients_of_two_parts_are_those_of_the_whole(backend, is_first_causal: bool) -> None:
    """Each part gets the merged output and log-sum-exp; autograd goes through both parts at once."""
    query, key, value = (x.requires_grad_() for x in batch(2, 7, 7))
    _, more_keys, more_values = (x.requires_grad_() for x in batch(2, 7, 11))
    bias = torch.zeros(7, 18, dtype=torch.float64)
    if is_first_causal:
        bias[:, :7].masked_fill_(torch.ones(7, 7, dtype=torch.bool).triu(1), float("-inf"))
    whole, _ = written_out(query, torch.cat([key, more_keys], 2), torch.cat([value, more_values], 2), 0.3, bias)
    grad_out = torch.randn(whole.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = torch.autograd.grad(whole, (query, key, value, more_keys, more_values), grad_out)
    with torch.no_grad():
        first = backend.forward(query, key, value, is_causal=is_first_causal, scaling=0.3)
        second = backend.forward(query, more_keys, more_values, is_causal=False, scaling=0.3)
        out, lse = merge(*first, *second)
        torch.testing.assert_close(out, whole, rtol=0, atol=1e-12)
        inputs = (out, lse)
        one = backend.backward(grad_out, query, key, value, *inputs, is_causal=is_first_causal, scaling=0.3)
        two = backend.backward(grad_out, query, more_keys, more_values, *inputs, is_causal=False, scaling=0.3)
    for a, b in zip((one[0] + two[0], *one[1:], *two[1:]), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_bfloat16_gives_float32_sums(backend) -> None:
    query, key, value = (x.bfloat16() for x in batch(2, 6, 6))
    out, lse = backend.forward(query, key, value, is_causal=True, scaling=0.3)
    assert (out.dtype, lse.dtype) == (torch.bfloat16, torch.float32)
    grads = backend.backward(out, query, key, value, out, lse, is_causal=True, scaling=0.3)
    assert [grad.dtype for grad in grads] == [torch.float32] * 3
    expected = ReferenceBackend().forward(query.double(), key.double(), value.double(), is_causal=True, scaling=0.3)
    torch.testing.assert_close(out.double(), expected[0], rtol=0, atol=0.02)


def test_merging_by_hand() -> None:
    # Weights 1 and 3 of values 2 and 6: (2 + 18) / 4.
    out, lse = merge(*(torch.tensor(x) for x in ([[2.0]], [0.0], [[6.0]], [1.0986123])))
    assert out.tolist() == [[pytest.approx(5.0)]]
    assert lse.tolist() == [pytest.approx(1.3862944)]


def test_merging_with_nothing() -> None:
    nothing, some = torch.tensor([float("-inf")]), torch.tensor([0.5])
    value, zero = torch.tensor([[3.0]]), torch.tensor([[0.0]])
    for parts in ((zero, nothing, value, some), (value, some, zero, nothing)):
        out, lse = merge(*parts)
        assert (out.item(), lse.item()) == (3.0, 0.5)
    out, lse = merge(zero, nothing, zero, nothing)
    assert (out.item(), lse.item()) == (0.0, float("-inf"))


def test_merging_is_exact_for_parts_of_very_different_weight() -> None:
    out, lse = merge(*(torch.tensor(x) for x in ([[2.0]], [-800.0], [[6.0]], [800.0])))
    assert (out.item(), lse.item()) == (6.0, 800.0)


def test_merging_in_place_is_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    outs = [torch.randn(2, 5, 3, 8, dtype=torch.float64, generator=generator) for _ in range(2)]
    lses = [torch.randn(2, 5, 3, dtype=torch.float64, generator=generator) * 20 for _ in range(2)]
    expected = merge(outs[0], lses[0], outs[1], lses[1])
    merge_(outs[0], lses[0], outs[1], lses[1])
    torch.testing.assert_close(outs[0], expected[0], rtol=0, atol=1e-14)
    torch.testing.assert_close(lses[0], expected[1], rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_kernels_are_used_where_they_work(dtype: torch.dtype) -> None:
    assert backend_for(CPU, dtype).name == "cpu"
    assert backend_for(CPU, dtype, "reference").name == "reference"


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(AttentionBackendError, match=r"policy.text_attention is 'flash'; allowed are auto, cpu, cuda"):
        backend_for(CPU, torch.float32, "flash")


def test_a_backend_that_is_not_there_is_refused() -> None:
    with pytest.raises(AttentionBackendError, match=r"is 'cuda', but the model is on 'cpu': use 'auto' or 'reference'"):
        backend_for(CPU, torch.float32, "cuda")


def test_a_device_without_kernels_gets_the_reference(fresh_backends, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert backend_for(torch.device("meta"), torch.float32).name == "reference"
    assert "there is no flash attention for 'meta' devices" in caplog.text


def test_a_kernel_that_is_gone_is_replaced_by_the_reference(
    fresh_backends, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise AttributeError("'_OpNamespace' 'aten' object has no attribute 'flash'")

    monkeypatch.setattr(attention_cpu, "flash_forward", gone)
    with caplog.at_level(logging.WARNING):
        assert backend_for(CPU, torch.float32).name == "reference"
        assert backend_for(CPU, torch.float32).name == "reference"
    assert caplog.text.count("does not work with torch.float32: '_OpNamespace' 'aten' object has no") == 1
    with pytest.raises(AttentionBackendError, match=r"policy.text_attention is 'cpu', but the cpu attention of torch"):
        backend_for(CPU, torch.float32, "cpu")


@pytest.mark.parametrize("module", [attention_cpu, attention_cpu_tree])
@pytest.mark.parametrize("name", ["flash_forward", "flash_backward"])
def test_a_kernel_that_computes_something_else_is_found(
    module, name: str, fresh_backends, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = getattr(module, name)

    def wrong(*args: Tensor, scaling: float, **options: object) -> object:
        return right(*args, scaling=1.1 * scaling, **options)

    monkeypatch.setattr(module, name, wrong)
    assert "is wrong by" in str(attention_probe.problem(CpuBackend(), CPU, torch.float32))


def test_a_kernel_that_gives_no_numbers_is_found(fresh_backends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        attention_cpu_tree, "flash_backward", lambda *args, **_: tuple(x * float("nan") for x in args[1:4])
    )
    assert "is wrong by nan" in str(attention_probe.problem(CpuBackend(), CPU, torch.float32))


def test_a_type_without_kernels_is_named() -> None:
    assert "torch.int64" in str(attention_probe.problem(CpuBackend(), CPU, torch.int64))

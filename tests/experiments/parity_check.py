"""The check that both systems of many rounds pass: what is trained is what was sampled, in every round."""

import json

import pytest

from videozoom.experiments.config import Config
from videozoom.experiments.parity import run_parity


def assert_parity_over_five_rounds(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    """Compare sampler and learner on one group whose episodes have five steps."""
    code = run_parity(config, num_groups=1, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (code, found["is_equal"]) == (0, True)
    assert [row["step"] for row in found["rows"]] == ["1", "2", "3", "4", "5", "all"]
    total = found["rows"][-1]
    assert [total[f"{name}_mismatches"] for name in ("token", "position", "visual")] == [0, 0, 0]
    assert total["logprob_max_abs"] < 5e-6
    assert found["num_made_up_zooms"] > 0

"""What a step costs beside decoding; how much that is, is measured elsewhere."""

from videozoom.experiments.env_overhead import measure_env_overhead


def test_every_case_has_its_figures() -> None:
    rows = measure_env_overhead(num_episodes=2)
    assert [row["case"] for row in rows][:3] == ["environment", "gymnasium.make", "FixedShape"]
    assert len({row["case"] for row in rows}) == len(rows) == 7
    for row in rows:
        assert 0.0 < row["step_ms_median"] <= row["step_ms_p99"]
        assert row["reset_ms_median"] > 0.0

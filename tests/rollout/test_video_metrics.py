from pathlib import Path
from types import SimpleNamespace

import pytest

from videozoom.envs.video_stats import VideoStoreStats
from videozoom.policies.feature_cache import FeatureStats
from videozoom.rollout.metrics import METRICS, check_names
from videozoom.rollout.video_metrics import VideoMeter, feature_metrics, video_metrics

STATS = VideoStoreStats(
    num_memory_hits=5,
    num_disk_hits=2,
    num_cold_hits=1,
    num_decodes=2,
    num_scans=3,
    num_frames=40,
    num_bytes=4000,
    num_filled=1,
    num_errors=6,
    decode_s=0.5,
)


def test_counters_become_registered_metrics() -> None:
    metrics = video_metrics(STATS)
    assert metrics == {
        "video/cache_hit/rate": 0.8,
        "video/memory_hit/rate": 0.5,
        "video/disk_hit/rate": 0.2,
        "video/cold_hit/rate": 0.1,
        "video/decodes/sum": 2.0,
        "video/decode_s/sum": 0.5,
        "video/decoded_frames/sum": 40.0,
        "video/decoded_bytes/sum": 4000.0,
        "video/scans/sum": 3.0,
        "video/filled_frames/sum": 1.0,
        "video/read_errors/sum": 6.0,
    }
    check_names(metrics)
    registered = {name for name in METRICS if name.startswith("video/")}
    assert registered == {
        *metrics,
        *feature_metrics(FeatureStats(num_computed=1)),
        "video/cache_bytes",
        "video/feature_bytes",
        "video/decode_error/rate",
    }


def test_rates_are_over_the_clips_of_all_workers() -> None:
    both = VideoStoreStats(num_decodes=1) + VideoStoreStats(num_memory_hits=3)
    assert video_metrics(both)["video/cache_hit/rate"] == 0.75


def test_without_clips_there_is_no_rate() -> None:
    metrics = video_metrics(VideoStoreStats(num_errors=2))
    assert [name for name in metrics if name.endswith("/rate")] == []
    assert metrics["video/read_errors/sum"] == 2.0


def test_a_meter_tells_what_came_since_it_was_read_last() -> None:
    store = SimpleNamespace(stats=VideoStoreStats(num_decodes=7), cache_bytes=lambda: 4096)
    meter = VideoMeter(store)  # type: ignore[arg-type]
    store.stats += STATS
    assert meter.metrics() == video_metrics(STATS) | {"video/cache_bytes": 4096.0}
    assert meter.metrics() == video_metrics(VideoStoreStats()) | {"video/cache_bytes": 4096.0}


def test_features_that_were_known_are_hits() -> None:
    metrics = feature_metrics(FeatureStats(num_memory_hits=5, num_disk_hits=1, num_computed=2))
    assert metrics == {
        "video/feature_hit/rate": 0.75,
        "video/feature_disk_hit/rate": 0.125,
        "video/features_computed/sum": 2.0,
    }
    assert feature_metrics(FeatureStats()) == {"video/features_computed/sum": 0.0}
    check_names(metrics)


def test_counters_of_two_processes_add_up() -> None:
    double = STATS + STATS
    assert (double.num_clips, double.decode_s, double.num_bytes) == (20, 1.0, 8000)
    assert double - STATS == STATS
    with pytest.raises(AttributeError):
        STATS.num_frames = 3  # type: ignore[misc]


def test_the_path_of_a_cache_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from videozoom.envs.video_store import VideoStore

    monkeypatch.chdir(tmp_path)
    assert VideoStore(cache=Path("cache")).cache_bytes() == 0
    assert not (tmp_path / "cache").exists()

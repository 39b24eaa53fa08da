"""Metrics of reading videos and of what the model sees of them: from counters to registered names."""

from videozoom.envs.video_stats import VideoStoreStats
from videozoom.envs.video_store import VideoStore
from videozoom.policies.feature_cache import FeatureStats


def video_metrics(stats: VideoStoreStats) -> dict[str, float]:
    """Return what an iteration's videos took, from the counters of all workers added up.

    Example:
        >>> video_metrics(VideoStoreStats(num_memory_hits=6, num_decodes=2))["video/cache_hit/rate"]
        0.75
    """
    metrics = {
        "video/decodes/sum": stats.num_decodes,
        "video/decode_s/sum": stats.decode_s,
        "video/decoded_frames/sum": stats.num_frames,
        "video/decoded_bytes/sum": stats.num_bytes,
        "video/scans/sum": stats.num_scans,
        "video/filled_frames/sum": stats.num_filled,
        "video/read_errors/sum": stats.num_errors,
    }
    if stats.num_clips:
        metrics |= {
            "video/cache_hit/rate": stats.num_hits / stats.num_clips,
            "video/memory_hit/rate": stats.num_memory_hits / stats.num_clips,
            "video/disk_hit/rate": stats.num_disk_hits / stats.num_clips,
            "video/cold_hit/rate": stats.num_cold_hits / stats.num_clips,
        }
    return {name: float(value) for name, value in metrics.items()}


def feature_metrics(stats: FeatureStats) -> dict[str, float]:
    """Return what the features of an iteration's clips took, from the counters of all processes added up.

    Example:
        >>> feature_metrics(FeatureStats(num_memory_hits=6, num_computed=2))["video/feature_hit/rate"]
        0.75
    """
    metrics = {"video/features_computed/sum": float(stats.num_computed)}
    if stats.num_clips:
        metrics["video/feature_hit/rate"] = (stats.num_memory_hits + stats.num_disk_hits) / stats.num_clips
        metrics["video/feature_disk_hit/rate"] = stats.num_disk_hits / stats.num_clips
    return metrics


class VideoMeter:
    """Reads the counters of one store, again and again."""

    def __init__(self, store: VideoStore) -> None:
        self._store, self._read_before = store, store.stats

    def metrics(self) -> dict[str, float]:
        """Return what was read since the last call, and how large the cache is."""
        stats, before = self._store.stats, self._read_before
        self._read_before = stats
        return video_metrics(stats - before) | {"video/cache_bytes": float(self._store.cache_bytes())}

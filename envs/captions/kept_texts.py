"""Captions and answers that are made once: in memory, and on the disk by the content of the video."""

from collections.abc import Callable, Sequence
from pathlib import Path

from videozoom.envs.captions.sources import Captioner, Segment, VideoQA
from videozoom.envs.tasks import Span
from videozoom.envs.videos.cache_writer import CacheWriter
from videozoom.envs.videos.containers import decode_errors
from videozoom.envs.videos.file_ids import FileStamp, digest_of
from videozoom.envs.videos.file_locks import file_lock
from videozoom.envs.videos.frame_cache import FrameCache
from videozoom.envs.videos.lru import LRU
from videozoom.envs.videos.record_log import RecordLog

DEFAULT_BYTES = 2**30
_MEMORY_BYTES = 64 * 2**20
_PATIENCE_S = 600.0
"""Longest wait for another process that makes texts about the same video; after it, making them twice is better."""


class KeptTexts:
    """Texts about videos, under names that say all that decides them.

    With a folder, they are on the disk by the digest of the video's content: a video that was moved, or another
    process, finds them again. The folder may be that of decoded frames (`FrameCache`) and can be removed at any time.
    A disk that cannot be written costs a warning, and nothing else.
    """

    def __init__(self, folder: Path | None = None, *, max_bytes: int = DEFAULT_BYTES) -> None:
        """Make the object; folders are made when there is something to keep.

        Args:
            folder: where texts go; `None` keeps them in memory only.
            max_bytes: the most bytes on the disk; a part that is full loses its older half.
        """
        self._memory: LRU[str] = LRU(_MEMORY_BYTES)
        self._folder = None if folder is None else Path(folder).absolute()
        self._files = None if self._folder is None else FrameCache(self._folder)
        self._disk = None if self._folder is None else RecordLog(self._folder / "texts", max_bytes)
        self._writer = None
        if self._folder is not None:
            self._writer = CacheWriter(self._folder, name="caption cache", contents="Captions and frames")

    def texts(self, video: Path, names: Sequence[str], make: Callable[[list[int]], list[str]]) -> list[str]:
        """Return the text of each name; those that are not known come from `make`, which is given their positions.

        Raises:
            VideoDecodeError: if the video's file cannot be looked at. What `make` raises goes through.
        """
        with decode_errors(video):
            digest = self._digest(video)
        keys = [digest_of("text", digest, name) for name in names]
        found = self._known(keys)
        if len(found) == len(set(keys)):
            return [found[key] for key in keys]
        if self._folder is None:
            return self._made(keys, found, make)
        with file_lock(self._folder / "locks" / f"texts-{digest[:2]}", _PATIENCE_S):
            return self._made(keys, self._known(keys), make)

    def _made(self, keys: list[str], found: dict[str, str], make: Callable[[list[int]], list[str]]) -> list[str]:
        """Return the texts of all keys, and keep those that have to be made; a key that occurs twice is made once."""
        missing = list({key: place for place, key in enumerate(keys) if key not in found}.values())
        for place, text in zip(missing, make(missing) if missing else [], strict=True):
            found[keys[place]] = text
            self._keep(keys[place], text)
        return [found[key] for key in keys]

    def _digest(self, video: Path) -> str:
        stamp = FileStamp.of(video)
        if self._files is None:
            return digest_of(str(video), stamp.num_bytes, stamp.modified_ns, stamp.changed_ns)
        return self._files.digest(video, stamp)

    def _known(self, keys: Sequence[str]) -> dict[str, str]:
        known: dict[str, str] = {}
        for key in dict.fromkeys(keys):
            text = self._memory.get(key)
            if text is None and self._disk is not None and (record := self._disk.get(key)) is not None:
                text = record.decode()
                self._remember(key, text)
            if text is not None:
                known[key] = text
        return known

    def _keep(self, key: str, text: str) -> None:
        self._remember(key, text)
        if self._disk is not None and self._writer is not None:
            with self._writer.giving_up():
                if self._writer.is_ready():
                    self._disk.put(key, text.encode(errors="replace"))

    def _remember(self, key: str, text: str) -> None:
        self._memory.put(key, text, len(text) + len(key))


class KeptCaptioner:
    """A captioner whose captions are made once."""

    def __init__(self, captioner: Captioner, kept: KeptTexts) -> None:
        self._captioner, self._kept = captioner, kept
        self.fingerprint = captioner.fingerprint

    def captions(self, video: Path, segments: Sequence[Segment]) -> list[str]:
        """Return a caption of each segment; those that are not known are asked for at once."""
        names = [digest_of("caption", self.fingerprint, tuple(it.span_s), str(it.level)) for it in segments]

        def make(places: list[int]) -> list[str]:
            return self._captioner.captions(video, [segments[place] for place in places])

        return self._kept.texts(video, names, make)


class KeptVideoQA:
    """A question answerer whose answers are made once."""

    def __init__(self, video_qa: VideoQA, kept: KeptTexts) -> None:
        self._video_qa, self._kept = video_qa, kept
        self.fingerprint = video_qa.fingerprint

    def answer(self, video: Path, span_s: Span, question: str) -> str:
        """Return what the span shows of what is asked."""
        name = digest_of("answer", self.fingerprint, tuple(span_s), question)
        return self._kept.texts(video, [name], lambda _: [self._video_qa.answer(video, span_s, question)])[0]

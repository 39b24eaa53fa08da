from pathlib import Path

import pytest
from video_makers import write_numbered_video

from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.videos.index import scan


def test_a_codec_nobody_knows_is_a_decode_error(tmp_path: Path) -> None:
    path = write_numbered_video(tmp_path / "v.mp4", range(0, 400, 40))
    assert len(scan(path).pts) == 10
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(VideoDecodeError, match=r"v.mp4: .*\.$"):
        scan(path)

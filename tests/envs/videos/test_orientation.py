from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from odd_files import SHOWN, Matrix, as_it_is, show_as

from videozoom.envs.observation import VideoDecodeError
from videozoom.envs.videos.index import scan
from videozoom.envs.videos.orientation import Orientation, is_mirror_image
from videozoom.envs.videos.pyav_reader import PyAVReader
from videozoom.envs.videos.resizing import Resize

GREYS = np.array([[40, 90, 140], [190, 210, 230]], np.uint8)
"""What is stored, in cells of 32 pixels; no two ways to show it are alike."""
AS_SHOWN = {
    (1, 0, 0, 1): [[40, 90, 140], [190, 210, 230]],
    (0, 1, -1, 0): [[190, 40], [210, 90], [230, 140]],
    (-1, 0, 0, -1): [[230, 210, 190], [140, 90, 40]],
    (0, -1, 1, 0): [[140, 230], [90, 210], [40, 190]],
    (-1, 0, 0, 1): [[140, 90, 40], [230, 210, 190]],
    (1, 0, 0, -1): [[190, 210, 230], [40, 90, 140]],
    (0, 1, 1, 0): [[40, 190], [90, 210], [140, 230]],
    (0, -1, -1, 0): [[230, 140], [210, 90], [190, 40]],
}
MIRROR_IMAGES = [(-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0)]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    image = np.repeat(GREYS.repeat(32, axis=0).repeat(32, axis=1)[:, :, None], 3, axis=2)
    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return tmp_path / "v.mp4"


def cells_shown(video: Path, resize: Resize = Resize.BICUBIC) -> list[list[int]]:
    """Return the greys of the second frame, cell by cell, to the nearest 10."""
    frames = PyAVReader().read(video, scan(video), np.array([1]), as_it_is, resize).frames
    greys = frames[0].mean(2)[16::32, 16::32]
    return (10 * np.rint(greys / 10)).astype(int).tolist()


@pytest.mark.parametrize("matrix", AS_SHOWN)
def test_every_turn_and_mirror_image_is_shown_as_players_do(video: Path, matrix: Matrix) -> None:
    assert cells_shown(video) == GREYS.tolist()
    show_as(*matrix)(video)
    assert cells_shown(video) == AS_SHOWN[matrix]
    assert is_mirror_image(video) == (matrix in MIRROR_IMAGES)
    assert SHOWN[matrix](GREYS).tolist() == AS_SHOWN[matrix]


def test_the_size_is_that_of_the_upright_picture(video: Path) -> None:
    show_as(0, 1, 1, 0)(video)
    seen = []

    def size(height: int, width: int) -> tuple[int, int]:
        seen.append((height, width))
        return 32, 28

    frames = PyAVReader().read(video, scan(video), np.array([0]), size, Resize.AREA).frames
    assert (seen, frames.shape) == ([(96, 64)], (1, 32, 28, 3))


@pytest.mark.parametrize(
    ("matrix", "nearest"),
    [
        ((65536.0, 0.0, 0.0, 65536.0), Orientation()),
        ((0.87, 0.5, -0.5, 0.87), Orientation()),
        ((0.5, 0.87, -0.87, 0.5), Orientation.of_matrix(0, 1, -1, 0)),
        ((-2.0, 0.0, 0.0, 1.0), Orientation.of_matrix(-1, 0, 0, 1)),
        ((0.0, 0.0, 0.0, 0.0), Orientation()),
    ],
)
def test_other_matrices_are_taken_for_the_nearest(matrix: tuple[float, ...], nearest: Orientation) -> None:
    assert Orientation.of_matrix(*matrix) == nearest


@pytest.mark.parametrize(
    ("degrees", "matrix"), [(0, (1, 0, 0, 1)), (-90, (0, 1, -1, 0)), (180, (-1, 0, 0, -1)), (90, (0, -1, 1, 0))]
)
def test_turns_are_known_where_other_data_of_a_frame_has_no_name(degrees: int, matrix: Matrix) -> None:
    class Frame(SimpleNamespace):
        @property
        def side_data(self) -> Any:
            raise ValueError("31 is not a valid Type")

    frame: Any = Frame(rotation=degrees)
    assert Orientation.of(frame) == Orientation.of_matrix(*matrix)


def test_a_file_without_a_picture_is_no_mirror_image_or_an_error(tmp_path: Path) -> None:
    with pytest.raises(VideoDecodeError, match=r"none.mp4: cannot read the video"):
        is_mirror_image(tmp_path / "none.mp4")

"""Markup that is safe by construction."""

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from videozoom.rollout.markup import Html, element, image_uri, join


def test_text_is_escaped_and_markup_is_not() -> None:
    assert element("p", "<b> & 'x'", element("b", "y")) == "<p>&lt;b&gt; &amp; &#x27;x&#x27;<b>y</b></p>"


def test_attributes_cannot_break_out() -> None:
    assert element("i", title='"><script>') == '<i title="&quot;&gt;&lt;script&gt;"></i>'


def test_attribute_names_and_empty_values() -> None:
    made = element("input", class_="a", aria_label="b", hidden=True, disabled=False, value=None, width=3)
    assert made == '<input class="a" aria-label="b" hidden width="3">'


def test_children_are_flattened_and_none_left_out() -> None:
    assert join(["a", None, [1, [Html("<i>"), 2.5]]]) == "a1<i>2.5"
    assert isinstance(join([]), Html)


@pytest.mark.parametrize("is_photo", [False, True])
def test_images_come_back_from_their_uri(is_photo: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    uri = image_uri(Image.fromarray(pixels), is_photo=is_photo)
    kind, _, data = uri.partition(";base64,")
    assert kind == ("data:image/webp" if is_photo else "data:image/png")
    back = np.asarray(Image.open(BytesIO(base64.b64decode(data))).convert("RGB"))
    assert back.shape == pixels.shape
    assert np.array_equal(back, pixels) is not is_photo

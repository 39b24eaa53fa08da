"""HTML that is safe by construction: text is escaped, only `Html` is not."""

import base64
from collections.abc import Iterable
from html import escape
from io import BytesIO

from PIL import Image

_VOID = frozenset({"br", "hr", "img", "input", "meta"})


class Html(str):
    """Finished markup. Everything else that is put into an element is text and gets escaped."""

    __slots__ = ()


Child = str | float | None | Iterable["Child"]
Attribute = str | float | bool | None


def element(name: str, /, *children: Child, **attributes: Attribute) -> Html:
    """Return `<name attributes>children</name>`.

    Children: `Html` is taken as it is, other text is escaped, lists are flattened, `None` is left out. Attribute names
    lose a trailing underscore and get dashes; `None` and `False` leave the attribute out, `True` writes it bare.

    Example:
        >>> element("p", "1 < 2", class_="small", data_x=3)
        '<p class="small" data-x="3">1 &lt; 2</p>'
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Html:
    """Return the children one after another, text escaped.

    Example:
        >>> join([element("b", "bold"), " & plain", None])
        '<b>bold</b> &amp; plain'
    """
    return Html("".join(_render(child) for child in children))


def image_uri(image: Image.Image, *, is_photo: bool = False) -> str:
    """Return the image as a data URI: PNG, or WebP at quality 80 where small losses do not matter."""
    buffer = BytesIO()
    if is_photo:
        image.save(buffer, "WEBP", quality=80, method=4)
    else:
        image.save(buffer, "PNG", optimize=True)
    kind = "webp" if is_photo else "png"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _render(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, str):
        return escape(child)
    if isinstance(child, int | float):
        return str(child)
    return join(child)


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'

"""The wording of a protocol: text files with placeholders in braces, in a folder of one's own or a shipped one."""

import re
from collections.abc import Mapping
from pathlib import Path

_FOLDERS = Path(__file__).parent / "prompts"
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


def load_wording(folder: str | Path, files: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return the texts of a folder by their names; line breaks at the end of a file do not count.

    Args:
        folder: a path, or the name of a shipped folder.
        files: names without `.txt`, each with the placeholders its text has to contain.

    Raises:
        ValueError: if a file is missing or lacks a placeholder.
    """
    shipped = {path.name: path for path in _FOLDERS.iterdir() if path.is_dir()}
    path = shipped.get(str(folder), Path(folder))
    texts = {}
    for name, placeholders in files.items():
        file = path / f"{name}.txt"
        if not file.is_file():
            needed = [f"{it}.txt" for it in files]
            fitting = [it for it in sorted(shipped) if all((shipped[it] / need).is_file() for need in needed)]
            raise ValueError(
                f"Prompt file {file} does not exist: this protocol needs {', '.join(needed)}; shipped folders are "
                f"{', '.join(fitting)}."
            )
        texts[name] = file.read_text(encoding="utf-8").rstrip("\n")
        missing = next((it for it in placeholders if f"{{{it}}}" not in texts[name]), None)
        if missing is not None:
            raise ValueError(f"{file} must contain {{{missing}}}.")
    return texts


def fill(text: str, **values: object) -> str:
    """Return a text with its placeholders replaced; other braces, also those in the values, stay as they are.

    Example:
        >>> fill("{question} {x}", question="What is in the {box}?", box="no")
        'What is in the {box}? {x}'
    """
    return _PLACEHOLDER.sub(lambda match: str(values.get(match.group(1), match.group())), text)

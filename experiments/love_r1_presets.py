"""LOVE-R1's published settings where its paper and its pieces of released code differ: a table of facts.

`protocol.preset` names one; reading a configuration applies it. What the configuration sets itself wins over the
preset, and the preset over the defaults of `config.py`, which are those of `paper`.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

DEFAULT = "paper"
"""The preset of a configuration that names none."""

NO_LIMIT_S = 1e9
"""Longer than any video."""


class Fact(NamedTuple):
    """One published value."""

    value: Any
    source: str
    """Where it is published."""


_RL = "released RL code"
_SFT = "released SFT code"
_EVAL = "released evaluation code"

_PAPER = {
    "video.fast_fps": Fact(2.0, "all released code; the paper does not print it"),
    "video.fast_max_frames": Fact(768, "Sec. 5.1"),
    "video.fast_frame_tokens": Fact(32, "Sec. 3; per pair of frames, as in all released code"),
    "video.slow_fps": Fact(2.0, "all released code; the paper does not print it"),
    "video.slow_max_frames": Fact(32, "Sec. 5.1"),
    "video.slow_frame_tokens": Fact(256, "Sec. 3; per pair of frames, as in all released code"),
    "video.double_fast_below_s": Fact(0.0, "the paper does not mention short videos"),
    "video.double_slow_below_s": Fact(0.0, "the paper does not mention short videos"),
    "protocol.parser": Fact("rl", f"the paper describes none; {_RL}, mended (envs/protocols/boxed.py)"),
    "protocol.template": Fact("c", "Sec. 3, Fig. 2"),
    "protocol.force_answer": Fact(True, "Sec. 5.1"),
    "protocol.force_after_malformed": Fact(False, "the paper does not mention malformed outputs"),
    "env.max_steps": Fact(3, "Sec. 5.1"),
    "env.mask_unreadable": Fact(True, "Sec. 4.3"),
    "env.whole_clip_if_refused": Fact(False, "the paper does not mention it"),
    "cold_start.clip_frames": Fact((), "the paper does not mention it"),
    "env.span_rules.min_length_s": Fact(1.0, f"the paper states no rules; {_RL}"),
    "env.span_rules.max_length_s": Fact(60.0, f"the paper states no rules; {_RL}"),
    "env.span_rules.max_fraction": Fact(0.5, f"the paper states no rules; {_RL}"),
    "env.span_rules.repeat_iou": Fact(0.7, f"the paper states no rules; {_RL}"),
    "env.span_rules.out_of_bounds": Fact("reject", f"the paper states no rules; {_RL}"),
    "env.span_rules.tolerance_s": Fact(1.0, f"the paper states no rules; {_RL}"),
    "env.span_rules.pad_s": Fact(0.0, f"the paper states no rules; {_RL}"),
    "env.span_rules.ends_at_whole_s": Fact(False, f"the paper states no rules; {_RL}"),
    "env.span_rules.expand_to_s": Fact(0.0, f"the paper states no rules; {_RL}"),
    "reward.format": Fact(0.0, "eq. 1 and 2: there is no format reward"),
    "reward_rules.needs_format": Fact(False, "eq. 1 and 2"),
}

_RELEASED_RL = _PAPER | {
    "video.slow_max_frames": Fact(16, f"{_RL}, for every clip"),
    "video.double_fast_below_s": Fact(60.0, _RL),
    "protocol.parser": Fact("released_rl", _RL),
    "protocol.force_answer": Fact(False, f"{_RL}: the second generation is free"),
    "env.max_steps": Fact(2, f"{_RL}: two generations for each sample"),
    "env.mask_unreadable": Fact(False, f"{_RL}: a wrong format scores 0; a second zoom is masked"),
    "reward.format": Fact(1.0, _RL),
    "reward_rules.needs_format": Fact(True, f"{_RL}: a wrong format takes the accuracy, too"),
    "rollout.group_size": Fact(8, "Sec. 5.1 and the released script"),
    "rollout.max_new_tokens": Fact(512, _RL),
    "rollout.temperature": Fact(0.9, "default of TRL 0.17, which the released script does not set"),
    "rollout.top_k": Fact(50, "default of TRL 0.17, which the released script does not set"),
    "rollout.top_p": Fact(1.0, "default of TRL 0.17, which the released script does not set"),
}

_RELEASED_SFT = _PAPER | {
    "video.double_fast_below_s": Fact(120.0, _SFT),
    "cold_start.clip_frames": Fact((32, 24, 16), f"{_SFT}, for one, two and more clips; 32 and 16 in its first stage"),
    "env.span_rules.expand_to_s": Fact(6.0, f"{_SFT}: [middle - 3, middle + 3]"),
    "env.span_rules.expand_below_s": Fact(5.0, f"{_SFT}: only spans shorter than this are widened"),
    "env.span_rules.expand_max_fraction": Fact(1.0, _SFT),
}

_RELEASED_EVAL = _PAPER | {
    "video.double_fast_below_s": Fact(60.0, _EVAL),
    "video.double_slow_below_s": Fact(60.0, f"{_EVAL}, which doubles slow clips, too"),
    "protocol.parser": Fact("released_eval", _EVAL),
    "protocol.force_after_malformed": Fact(True, f"{_EVAL}: what cannot be read or is refused ends the zooming"),
    "env.max_steps": Fact(3, f"{_EVAL}: two free steps and a forced one"),
    "env.whole_clip_if_refused": Fact(True, f"{_EVAL}: an answer forced before any zoom was accepted"),
    "env.span_rules.min_length_s": Fact(3.0, f"{_EVAL}, after padding"),
    "env.span_rules.max_length_s": Fact(NO_LIMIT_S, f"{_EVAL}: none"),
    "env.span_rules.max_fraction": Fact(1.0, f"{_EVAL}: none"),
    "env.span_rules.repeat_iou": Fact(0.3, _EVAL),
    "env.span_rules.out_of_bounds": Fact("clamp", _EVAL),
    "env.span_rules.pad_s": Fact(5.0, _EVAL),
    "env.span_rules.ends_at_whole_s": Fact(True, f"{_EVAL}: at int(duration)"),
    "env.span_rules.expand_to_s": Fact(30.0, _EVAL),
    "env.span_rules.expand_max_fraction": Fact(0.125, _EVAL),
    "eval.max_new_tokens": Fact(2048, f"{_EVAL}; top_k 1, which is greedy, as all evaluation here"),
}

PRESETS: dict[str, dict[str, Fact]] = {
    "paper": _PAPER,
    "released_rl": _RELEASED_RL,
    "released_sft": _RELEASED_SFT,
    "released_eval": _RELEASED_EVAL,
    "released_eval_mlvu": _RELEASED_EVAL
    | {
        "video.fast_max_frames": Fact(384, f"{_EVAL}, MLVU"),
        "video.fast_frame_tokens": Fact(64, f"{_EVAL}, MLVU"),
    },
    "released_eval_longvideobench": _RELEASED_EVAL
    | {
        "video.slow_max_frames": Fact(16, f"{_EVAL}, LongVideoBench"),
        "env.span_rules.expand_to_s": Fact(0.0, f"{_EVAL}, LongVideoBench: spans are padded, not widened"),
    },
}
"""By name, each a value for a setting's path."""


def with_preset(values: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration's values on top of those of the preset it names; other protocols have none.

    Example:
        >>> with_preset({"protocol": {"preset": "released_rl"}, "env": {"max_steps": 4}})["env"]["max_steps"]
        4
    """
    protocol = values.get("protocol", {})
    if not isinstance(protocol, dict) or protocol.get("name", "love_r1") != "love_r1":
        return values
    preset = protocol.get("preset") or DEFAULT
    # The defaults are those of the paper; what is no preset is found when the values are checked.
    if preset == DEFAULT or not isinstance(preset, str) or preset not in PRESETS:
        return values
    merged = dict(values)
    for path, value in _changes(preset):
        _set_default(merged, path.split("."), value)
    return merged


def check_preset(preset: str | None, protocol: str) -> None:
    """Raise `ValueError` if a protocol has no such preset."""
    if preset is not None and (preset in PRESETS) != (protocol == "love_r1"):
        raise ValueError(f"protocol.preset={preset} is none of protocol.name={protocol}")


def _changes(preset: str) -> Iterator[tuple[str, Any]]:
    """Yield what differs from the defaults."""
    for path, fact in PRESETS[preset].items():
        if path not in _PAPER or _PAPER[path].value != fact.value:
            yield path, fact.value


def _set_default(node: dict[str, Any], keys: list[str], value: Any) -> None:
    """Set an entry that is not there, copying the mappings on the way to it."""
    first, *rest = keys
    if not rest:
        node.setdefault(first, value)
        return
    inner = node.get(first, {})
    if isinstance(inner, dict):
        node[first] = dict(inner)
        _set_default(node[first], rest, value)

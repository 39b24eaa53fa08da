"""Wrappers: fixed shapes for array learners, actions in the forms they accept, text actions, recording, a budget."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from videozoom.envs.wrappers.fixed_shape import FixedShape as FixedShape
    from videozoom.envs.wrappers.record_trajectory import RecordTrajectory as RecordTrajectory
    from videozoom.envs.wrappers.structured_actions import BoxActions as BoxActions
    from videozoom.envs.wrappers.structured_actions import DictActions as DictActions
    from videozoom.envs.wrappers.structured_actions import DiscreteActions as DiscreteActions
    from videozoom.envs.wrappers.structured_actions import MultiDiscreteActions as MultiDiscreteActions
    from videozoom.envs.wrappers.text_actions import TextActions as TextActions
    from videozoom.envs.wrappers.visual_token_budget import VisualTokenBudget as VisualTokenBudget

_EXPORTS = {
    "BoxActions": "structured_actions",
    "DictActions": "structured_actions",
    "DiscreteActions": "structured_actions",
    "FixedShape": "fixed_shape",
    "MultiDiscreteActions": "structured_actions",
    "RecordTrajectory": "record_trajectory",
    "TextActions": "text_actions",
    "VisualTokenBudget": "visual_token_budget",
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    """Load an export on first use (PEP 562)."""
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)

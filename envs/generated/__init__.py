"""Procedurally generated videos whose truth is known."""

from videozoom.envs.generated.generate import generate
from videozoom.envs.generated.recipe import RecipeError, VideoRecipe

__all__ = ["RecipeError", "VideoRecipe", "generate"]

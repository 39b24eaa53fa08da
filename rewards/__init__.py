"""Pure scoring of finished episodes: outcome, overlap, format, and the rubric that weighs them."""

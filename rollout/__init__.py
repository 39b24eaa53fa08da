"""Episodes and groups: running them, their advantages, traces and metrics."""

"""Composition root: configs, command line, training, evaluation and reports."""

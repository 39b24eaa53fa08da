"""Captions of a video on a tree of its spans: the tree, who writes them, who answers about a span, what is kept."""

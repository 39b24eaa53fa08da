"""Procedurally generated videos whose truth is known."""

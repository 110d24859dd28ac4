"""Scores of a variant against the render it was made from: appearance, geometry, stability in time."""

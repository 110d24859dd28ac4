"""Substance of the workflow's stages: one subpackage per stage, shared small modules beside them."""

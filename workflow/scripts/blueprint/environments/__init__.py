"""Pinned environments: locked, installed, verified, and never moved afterwards."""

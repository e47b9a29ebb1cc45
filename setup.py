"""Shim for tools that look for setup.py; all metadata is in pyproject.toml."""

import setuptools

setuptools.setup()

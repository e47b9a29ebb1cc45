"""The packages; all other metadata is in pyproject.toml.

The configs are installed as dwd_jax/configs: at the top they would get into the
way of a user's own package of that name.
"""

import setuptools

_TOP = ("dwd_jax", "tfds_builders", "launch")

setuptools.setup(
  packages=[
    *setuptools.find_namespace_packages(include=[f"{name}*" for name in _TOP]),
    "dwd_jax.configs",
  ],
  package_dir={"dwd_jax.configs": "configs"},
)

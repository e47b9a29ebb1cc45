"""Generator of labelled pages: random scores, engraved, with boxes."""

from dwd_jax.engrave.dataset import Summary, generate

__all__ = ["Summary", "generate"]

"""Trained weights that come with the package; see README.md."""

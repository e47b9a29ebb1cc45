"""XML of which nothing is expanded or loaded."""

import pytest
from lxml import etree

from dwd_jax.core import safe_xml


def test_entities_are_not_expanded_and_no_file_is_read(tmp_path):
  secret = tmp_path / "secret.txt"
  secret.write_text("secret")
  text = f"""<!DOCTYPE a [<!ENTITY file SYSTEM "{secret.as_uri()}">
    <!ENTITY ten "0123456789">]><a><b>&file;</b><c>&ten;</c></a>"""
  root = safe_xml.parse(text)
  assert "".join(root.itertext()).strip() in ("", "&file;&ten;")
  assert "secret" not in (root.findtext("b") or "")


def test_bytes_and_text_are_the_same_and_broken_ones_an_error():
  assert safe_xml.parse("<é/>").tag == safe_xml.parse("<é/>".encode()).tag
  with pytest.raises(etree.XMLSyntaxError):
    safe_xml.parse("<a><b></a>")


def test_options_of_the_parser():
  root = safe_xml.parse("<a><!-- of the editor --><b/></a>")
  assert len(root) == 2
  bare = safe_xml.parse(
    "<a><!-- of the editor --><b/></a>", remove_comments=True
  )
  assert len(bare) == 1

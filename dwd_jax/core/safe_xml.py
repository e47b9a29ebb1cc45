"""XML from files that nobody vouches for."""

from lxml import etree


def parse(data: bytes | str, **options: bool) -> etree._Element:
  """The root of a document, of which nothing is expanded or loaded.

  Entities stay as they are; neither a document type nor anything from the
  network is read, and lxml bounds depth and length.

  Args:
    data: text is read as UTF-8.
    options: further ones of `etree.XMLParser`.

  Raises:
    etree.XMLSyntaxError: broken XML.
  """
  parser = etree.XMLParser(
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    huge_tree=False,
    **options,
  )
  return etree.fromstring(
    data.encode() if isinstance(data, str) else data, parser
  )

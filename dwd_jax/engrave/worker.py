"""The worker process: tasks on stdin, pages on stdout.

A frame is a line of JSON with the lengths of the blobs that follow it.
`python -m dwd_jax.engrave.worker` is started by `pool.py`, not by people.
"""

import dataclasses
import json
import os
import sys
from typing import IO

import verovio

from dwd_jax.engrave.engraver import EngravedPage, Task, engrave


def write_frame(stream: IO[bytes], header: dict, blobs: list[bytes]) -> None:
  """Sends a header and its blobs."""
  header = {**header, "blobs": [len(blob) for blob in blobs]}
  stream.write(json.dumps(header).encode() + b"\n")
  for blob in blobs:
    stream.write(blob)
  stream.flush()


def read_frame(stream: IO[bytes]) -> tuple[dict, list[bytes]] | None:
  """Receives a header and its blobs; None at the end of the stream."""
  line = stream.readline()
  if not line.endswith(b"\n"):
    return None
  header = json.loads(line)
  blobs = [stream.read(size) for size in header["blobs"]]
  if [len(blob) for blob in blobs] != header["blobs"]:
    return None
  return header, blobs


def pack(pages: list[EngravedPage]) -> tuple[dict, list[bytes]]:
  """Pages as a frame."""
  meta = [
    {
      "name": p.name,
      "counts": p.counts,
      "staff_space": p.staff_space,
      "lost": p.lost,
    }
    for p in pages
  ]
  blobs = [blob for p in pages for blob in (p.png, p.xml, p.labels)]
  return {"pages": meta}, blobs


def unpack(header: dict, blobs: list[bytes]) -> list[EngravedPage]:
  """The pages of a frame."""
  return [
    EngravedPage(
      meta["name"],
      png,
      xml,
      meta["counts"],
      labels,
      meta["staff_space"],
      meta["lost"],
    )
    for meta, png, xml, labels in zip(
      header["pages"], blobs[0::3], blobs[1::3], blobs[2::3], strict=True
    )
  ]


def task_of(header: dict) -> Task:
  """The task of a frame."""
  fields = {f.name for f in dataclasses.fields(Task)}
  values = {k: v for k, v in header.items() if k in fields}
  return Task(**{**values, "fonts": tuple(values["fonts"])})


def main() -> None:
  """Works until stdin ends."""
  # What libraries print must not get between the frames.
  results = os.fdopen(os.dup(1), "wb")
  os.dup2(2, 1)
  verovio.enableLog(verovio.LOG_OFF)
  toolkit = verovio.toolkit()
  while (frame := read_frame(sys.stdin.buffer)) is not None:
    try:
      header, blobs = pack(engrave(task_of(frame[0]), toolkit))
    except Exception as e:  # reported with the score's name by the parent
      header, blobs = {"error": f"{type(e).__name__}: {e}"}, []
    write_frame(results, header, blobs)


if __name__ == "__main__":
  main()

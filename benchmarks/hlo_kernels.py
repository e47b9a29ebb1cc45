"""Reads compiled HLO: kernels, the bytes they move, what they multiply.

Works on the text of a scheduled module (`jax.stages.Compiled.as_text`): every
instruction of the entry computation, and of what it calls, is one kernel or one
copy; the computation of a fusion says which parts of its operands are read.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Iterator

# Bytes of a number; sub-byte types do not occur.
_BYTES = {
  **dict.fromkeys(("pred", "s8", "u8"), 1),
  **dict.fromkeys(("s16", "u16", "f16", "bf16"), 2),
  **dict.fromkeys(("s32", "u32", "f32"), 4),
  **dict.fromkeys(("s64", "u64", "f64", "c64"), 8),
  "c128": 16,
}
_NO_KERNEL = {
  "parameter",
  "constant",
  "tuple",
  "get-tuple-element",
  "bitcast",
  "after-all",
  "partition-id",
  "replica-id",
  "copy-done",
  "async-done",
  "async-update",
}
_SLICES = {"slice", "dynamic-slice", "gather"}
_HEADER = re.compile(r"(ENTRY )?%([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(
  r"\s+(?P<root>ROOT )?%(?P<name>[\w.\-]+) = (?P<type>.+?)"
  r" (?P<op>[a-z][\w\-]*)\((?P<rest>.*)"
)
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")
_CALLED = re.compile(
  r"(?:calls|to_apply|body|condition|true_computation|false_computation)"
  r"=%([\w.\-]+)|branch_computations=\{([^}]*)\}"
)


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line of a computation.

  Attributes:
    arrays: element type and shape of the result, or of each of a tuple.
    operands: names.
    attributes: what follows the operands.
    on_host: whether any of the result lies in the host's memory.
  """

  name: str
  op: str
  arrays: tuple[tuple[str, tuple[int, ...]], ...]
  operands: tuple[str, ...]
  attributes: str
  is_root: bool
  on_host: bool

  @property
  def elements(self) -> int:
    """Of all arrays of the result."""
    return sum(math.prod(shape) for _, shape in self.arrays)

  @property
  def bytes(self) -> int:
    """Of the result."""
    return sum(_BYTES.get(t, 0) * math.prod(shape) for t, shape in self.arrays)

  def called(self, key: str = "") -> list[str]:
    """Names of the computations that it calls; of one attribute if given."""
    found = []
    for match in _CALLED.finditer(self.attributes):
      if match[0].startswith(key):
        found += re.findall(r"[\w.\-]+", match[1] or match[2])
    return found

  def attribute(self, pattern: str) -> str:
    """The first group of a pattern in the attributes; "" = not there."""
    found = re.search(pattern, self.attributes)
    return found[1] if found else ""


Computation = dict[str, Instruction]


@dataclasses.dataclass(frozen=True)
class Module:
  """Computations by name; `entry` is the one that runs."""

  computations: dict[str, Computation]
  entry: str


@dataclasses.dataclass(frozen=True)
class Kernel:
  """A kernel, or a call of a library, or a copy.

  Attributes:
    kind: convolution, matmul, fusion, copy or other.
    source: the operation in the traced program.
    read: bytes; of an operand only the parts that are used count.
    written: bytes; of a result that is updated in place only the update counts.
    flops: of matrix products and convolutions; 0 of others.
    dtype: of the numbers that are multiplied, or of the result.
    times: how often it runs: trip counts of the loops around it.
    bounded: False if it is in a loop whose trip count is not known; it counts
      once.
  """

  name: str
  kind: str
  source: str
  read: int
  written: int
  flops: int
  dtype: str
  times: int
  bounded: bool


@dataclasses.dataclass(frozen=True)
class Decision:
  """Where the host waits for the device to choose what runs next.

  Attributes:
    kind: "while" (the host reads the condition in each round) or "conditional".
    source: the operation in the traced program.
    kernels: in a round, its condition included; of the largest branch.
    times: as of a `Kernel`: how often the loop is entered, not its rounds.
  """

  kind: str
  source: str
  kernels: int
  times: int


def parse(text: str) -> Module:
  """A module from its text.

  Raises:
    ValueError: there is no entry computation.
  """
  computations: dict[str, Computation] = {}
  entry, current = "", None
  for line in text.splitlines():
    if header := _HEADER.match(line):
      current = computations.setdefault(header[2], {})
      entry = header[2] if header[1] else entry
    elif current is not None and (found := _INSTRUCTION.match(line)):
      current[found["name"]] = _instruction(found)
  if not entry:
    raise ValueError("the text has no ENTRY computation")
  return Module(computations, entry)


def _instruction(found: re.Match[str]) -> Instruction:
  depth, rest = 1, found["rest"]
  end = len(rest)
  for i, letter in enumerate(rest):
    depth += (letter == "(") - (letter == ")")
    if not depth:
      end = i
      break
  arrays = tuple(
    (dtype, tuple(map(int, filter(None, shape.split(",")))))
    for dtype, shape in _ARRAY.findall(found["type"])
  )
  return Instruction(
    found["name"],
    found["op"],
    arrays,
    tuple(re.findall(r"%([\w.\-]+)", rest[:end])),
    rest[end + 1 :],
    bool(found["root"]),
    "S(5)" in found["type"],
  )


def kernels(module: Module) -> list[Kernel]:
  """All kernels in the order of the schedule."""
  return [
    _kernel(module, computation, instruction, times, bounded)
    for computation, instruction, times, bounded in _walk(module)
    if instruction.op not in ("while", "conditional")
  ]


def decisions(module: Module) -> list[Decision]:
  """Loops and branches that wait for the host."""
  found = []
  for _, instruction, times, _ in _walk(module):
    source = _source(instruction)
    if instruction.op == "while" and _trips(instruction) is None:
      inside = sum(_count(module, x) for x in instruction.called())
      found.append(Decision("while", source, inside, times))
    elif instruction.op == "conditional":
      inside = max(_count(module, x) for x in instruction.called())
      found.append(Decision("conditional", source, inside, times))
  return found


def host_copies(module: Module) -> int:
  """Copies between the memories of host and device inside of the program."""
  return sum(
    x.op in ("infeed", "outfeed", "send", "recv")
    or (x.op in ("copy", "copy-start") and _touches_host(computation, x))
    for computation, x, _, _ in _walk(module)
  )


def _touches_host(computation: Computation, x: Instruction) -> bool:
  return x.on_host or any(computation[name].on_host for name in x.operands)


def _trips(loop: Instruction) -> int | None:
  count = loop.attribute(r'"known_trip_count":\{"n":"(\d+)"')
  return int(count) if count else None


def _walk(
  module: Module, name: str = "", times: int = 1, bounded: bool = True
) -> Iterator[tuple[Computation, Instruction, int, bool]]:
  """Instructions that run, loops and branches before what is inside."""
  computation = module.computations[name or module.entry]
  for x in computation.values():
    if x.op in _NO_KERNEL or (x.op == "copy" and _of_constant(computation, x)):
      continue
    if x.op in ("call", "async-start"):
      for inner in x.called():
        yield from _walk(module, inner, times, bounded)
      continue
    yield computation, x, times, bounded
    if x.op == "while":
      trips = _trips(x)
      # The host counts the rounds of a known number; nothing is compared.
      inner = x.called("body") if trips else x.called()
      for name in inner:
        yield from _walk(
          module, name, times * (trips or 1), bounded and trips is not None
        )
    elif x.op == "conditional":
      branches = x.called()
      largest = max(branches, key=lambda name: _count(module, name))
      yield from _walk(module, largest, times, bounded)


def _of_constant(computation: Computation, copy: Instruction) -> bool:
  """Copies of scalars that loops start with; XLA sets them by memset."""
  source = computation[copy.operands[0]]
  return source.op == "constant" and source.elements <= 1


def _count(module: Module, name: str) -> int:
  inside = _walk(module, name)
  return sum(x.op not in ("while", "conditional") for _, x, _, _ in inside)


def _source(x: Instruction) -> str:
  return x.attribute(r'op_name="((?:[^"\\]|\\.)*)"') or x.name


def _kernel(
  module: Module,
  computation: Computation,
  x: Instruction,
  times: int,
  bounded: bool,
) -> Kernel:
  read = sum(computation[o].bytes for o in dict.fromkeys(x.operands))
  kind, flops, written = "other", 0, x.bytes
  dtype = x.arrays[0][0] if x.arrays else ""
  target = x.attribute(r'custom_call_target="([^"]+)"')
  if x.op == "fusion":
    fused = module.computations[x.called("calls")[0]]
    read, written = fused_bytes(fused)
    flops, multiplied = _fused_flops(module, fused)
    kind, dtype = ("matmul" if flops else "fusion"), multiplied or dtype
  elif target.startswith("__cudnn$conv"):
    kind, flops = "convolution", _convolution_flops(computation, x, target)
    dtype = computation[x.operands[0]].arrays[0][0]
  elif target.startswith("__cublas$"):
    kind, flops = "matmul", _dot_flops(computation, x, x.arrays[0][1])
    dtype = computation[x.operands[0]].arrays[0][0]
  elif x.op in ("copy", "copy-start"):
    kind = "copy"
  return Kernel(
    name=x.name,
    kind=kind,
    source=_source(x),
    read=read,
    written=written,
    flops=flops,
    dtype=dtype,
    times=times,
    bounded=bounded,
  )


def _convolution_flops(
  computation: Computation, x: Instruction, target: str
) -> int:
  """2 x elements of the forward result x size of the filter of one channel."""
  first, second = (computation[o].arrays[0][1] for o in x.operands[:2])
  result = x.arrays[0][1]
  labels = x.attribute(r"dim_labels=(\S+?),")
  filters = re.split("_|->", labels)[1].index("o")
  if target.startswith("__cudnn$convBackwardFilter"):
    forward, weights = second, result
  elif target.startswith("__cudnn$convBackwardInput"):
    forward, weights = first, second
  else:
    forward, weights = result, second
  return 2 * math.prod(forward) * math.prod(weights) // weights[filters]


def _dot_flops(
  computation: Computation, x: Instruction, result: tuple[int, ...]
) -> int:
  """2 x elements of the result x length of the sums."""
  lhs = computation[x.operands[0]].arrays[0][1]
  axes = x.attribute(
    r'"?lhs_contracting_dim(?:ension)?s"?[=:][\[{]([^\]}]*)[\]}]'
  )
  sums = math.prod(lhs[int(i)] for i in re.findall(r"\d+", axes))
  return 2 * math.prod(result) * sums


def _fused_flops(module: Module, fused: Computation) -> tuple[int, str]:
  """Of the matrix products in a fusion, and the type of their factors."""
  flops, dtype = 0, ""
  for x in fused.values():
    if x.op == "dot":
      flops += _dot_flops(fused, x, x.arrays[0][1])
      dtype = fused[x.operands[0]].arrays[0][0]
    elif x.op == "fusion":
      inner = module.computations[x.called("calls")[0]]
      more, inner_dtype = _fused_flops(module, inner)
      flops, dtype = flops + more, inner_dtype or dtype
  return flops, dtype


def fused_bytes(fused: Computation) -> tuple[int, int]:
  """Bytes that a fusion reads and writes.

  What is used of an operand is followed backwards through the fusion: a slice
  or a gather uses as many elements as it returns, a reduction all. An element
  that is used several times is read once, and never more than the whole is
  read. An update in place reads and writes what it updates.
  """
  root = next(x for x in fused.values() if x.is_root)
  results = (
    [fused[name] for name in root.operands] if root.op == "tuple" else [root]
  )
  sliced: dict[str, float] = collections.defaultdict(float)
  used: dict[str, float] = collections.defaultdict(float)
  written = 0
  in_place = set()
  for x in results:
    written += _update(fused, x).bytes if _in_place(fused, x) else x.bytes
    used[x.name] = x.elements
    if _in_place(fused, x):
      in_place.add(x.name)
  for x in reversed(list(fused.values())):
    need = min(used[x.name] + sliced[x.name], x.elements)
    if not need:
      continue
    for position, name in enumerate(x.operands):
      share = _used(fused, x, position, need, x.name in in_place)
      if x.op in _SLICES and not position:
        sliced[name] += share
      else:
        used[name] = max(used[name], share)
  read = 0.0
  for x in fused.values():
    if x.op == "parameter" and x.elements:
      share = min(1.0, (used[x.name] + sliced[x.name]) / x.elements)
      read += share * x.bytes
  return round(read), written


def _used(
  fused: Computation, x: Instruction, position: int, need: float, inside: bool
) -> float:
  """Elements of an operand for `need` elements of the result."""
  operand = fused[x.operands[position]]
  if x.op in ("reduce", "reduce-window", "dot", "convolution", "sort"):
    return operand.elements * need / max(x.elements, 1)
  if x.op in ("dynamic-update-slice", "scatter"):
    if position:
      return operand.elements
    updated = _update(fused, x).elements
    # Scatters combine with what is there; slices replace it.
    if inside:
      return updated if x.op == "scatter" else 0
  if (x.op == "gather" and position) or x.op == "fusion":
    return operand.elements
  return need


def _update(fused: Computation, x: Instruction) -> Instruction:
  """What is written in place."""
  return fused[x.operands[2 if x.op == "scatter" else 1]]


def _in_place(fused: Computation, x: Instruction) -> bool:
  """Whether a result overwrites part of an operand of its fusion."""
  if x.op not in ("dynamic-update-slice", "scatter"):
    return False
  source = fused[x.operands[0]]
  while source.op == "bitcast":
    source = fused[source.operands[0]]
  return source.op == "parameter"

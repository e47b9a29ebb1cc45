"""The pickles inside PyTorch's files, read as data: no object is ever made.

Unpickling may run whatever the file names. Here the opcodes are walked over
(`pickletools.genops` splits them, and runs nothing) by a machine that knows
dicts, lists, tuples, strings and numbers. A name such as
`torch._utils._rebuild_tensor_v2` stays a name; calling one is only possible
for those in `_CALLS`, which describe a tensor. Any other opcode or call stops.

Differs from a `pickle.Unpickler` with an own `find_class`: that one imports
what is allowed, and lets the file ask for any amount of memory.
"""

import dataclasses
import math
import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO

MAX_PICKLE_OPS = 2_000_000  # ResNet-152 has 30,000


@dataclasses.dataclass(frozen=True)
class Name:
  """A global that the file names; not looked up."""

  module: str
  name: str


@dataclasses.dataclass(frozen=True)
class Storage:
  """Where the numbers of tensors lie.

  Attributes:
    kind: of the numbers, such as "FloatStorage".
    key: of the record that has them.
    size: how many there are.
  """

  kind: str
  key: str
  size: int


@dataclasses.dataclass(frozen=True)
class Tensor:
  """A view of a storage; everything counted in numbers, not bytes.

  Attributes:
    storage: the numbers.
    offset: of the first.
    shape: of the tensor.
    strides: of its axes.
  """

  storage: Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


class _Mark:
  pass


_MARK = _Mark()


def read(file: BinaryIO) -> Any:
  """Reads one pickle, up to and including its end.

  Args:
    file: at the start of the pickle; at the byte after it when this returns.

  Returns:
    Dicts, lists, tuples, strings, numbers, `Name`, `Storage` and `Tensor`.

  Raises:
    ValueError: anything else is in there, or it is damaged; the message is the
      reason.
  """
  machine = _Machine()
  try:
    for count, (opcode, arg, _) in enumerate(pickletools.genops(file)):
      if count > MAX_PICKLE_OPS:
        raise ValueError("its pickle is too long")
      if opcode.name == "STOP":
        return machine.pop()
      machine.do(opcode.name, arg)
  except (IndexError, KeyError, TypeError, AttributeError, OverflowError):
    # An empty stack, an unknown memo, a list where a number should be.
    raise ValueError("its pickle makes no sense") from None
  raise ValueError("its pickle has no end")


_VALUES = frozenset(
  {
    *("BININT", "BININT1", "BININT2", "INT", "LONG1", "LONG4", "LONG"),
    *("BINFLOAT", "FLOAT", "BINBYTES", "SHORT_BINBYTES"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"),
    *("BINSTRING", "SHORT_BINSTRING", "STRING"),
  }
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Machine:
  """The stack and the memo of a pickle."""

  def __init__(self):
    self._stack: list[Any] = []
    self._memo: dict[int, Any] = {}
    self._simple: dict[str, Callable[[], None]] = {
      "TUPLE": lambda: self._push(tuple(self._to_mark())),
      "LIST": lambda: self._push(self._to_mark()),
      "DICT": lambda: self._push(_pairs(self._to_mark())),
      "EMPTY_DICT": lambda: self._push({}),
      "EMPTY_LIST": lambda: self._push([]),
      "MARK": lambda: self._push(_MARK),
      "POP": lambda: self._stack.pop() and None,
      "SETITEMS": lambda: self._set_items(self._to_mark()),
      "SETITEM": lambda: self._set_items(self._pop_many(2)),
      "APPENDS": lambda: self._append(self._to_mark()),
      "APPEND": lambda: self._append(self._pop_many(1)),
      "BINPERSID": lambda: self._push(_storage(self.pop())),
      "STACK_GLOBAL": lambda: self._push(_name(*self._pop_many(2))),
      "REDUCE": lambda: self._push(_call(*self._pop_many(2))),
      # The state of an OrderedDict: notes for PyTorch, no parameters.
      "BUILD": lambda: self._stack.pop() and None,
    }

  def do(self, opcode: str, arg: Any) -> None:
    """Does what an opcode says."""
    if opcode in _VALUES:
      self._push(arg)
    elif opcode in _CONSTANTS:
      self._push(_CONSTANTS[opcode])
    elif opcode in _TUPLES:
      self._push(tuple(self._pop_many(_TUPLES[opcode])))
    elif opcode == "GLOBAL":
      self._push(_name(*arg.split(" ", 1)))
    elif opcode in ("BINPUT", "LONG_BINPUT", "PUT"):
      self._memo[arg] = self._stack[-1]
    elif opcode == "MEMOIZE":
      self._memo[len(self._memo)] = self._stack[-1]
    elif opcode in ("BINGET", "LONG_BINGET", "GET"):
      self._push(self._memo[arg])
    elif opcode in self._simple:
      self._simple[opcode]()
    elif opcode not in ("PROTO", "FRAME"):
      raise ValueError(f"its pickle has the opcode {opcode}, which is not read")

  def pop(self) -> Any:
    """Takes the top of the stack."""
    value = self._stack.pop()
    if value is _MARK:
      raise IndexError
    return value

  def _push(self, value: Any) -> None:
    self._stack.append(value)

  def _pop_many(self, count: int) -> list[Any]:
    return [self.pop() for _ in range(count)][::-1]

  def _to_mark(self) -> list[Any]:
    found = []
    while (value := self._stack.pop()) is not _MARK:
      found.append(value)
    return found[::-1]

  def _set_items(self, items: list[Any]) -> None:
    target = self._stack[-1]
    if not isinstance(target, dict):
      raise TypeError
    target.update(_pairs(items))

  def _append(self, items: list[Any]) -> None:
    target = self._stack[-1]
    if not isinstance(target, list):
      raise TypeError
    target.extend(items)


def _pairs(items: list[Any]) -> dict[Any, Any]:
  keys, values = items[::2], items[1::2]
  # Nothing else: the hash of nested tuples could overflow the stack of C.
  if not all(isinstance(key, str | int) for key in keys):
    raise ValueError("its pickle has a dict of other keys than names")
  if len(keys) != len(values):
    raise TypeError
  return dict(zip(keys, values, strict=True))


def _ordered_dict(*args: Any) -> dict[Any, Any]:
  """Arguments of `OrderedDict`: none, or a list of pairs (Python 2)."""
  (pairs,) = args or ([],)
  if not isinstance(pairs, list):
    raise TypeError
  if not all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs):
    raise TypeError
  return _pairs([x for pair in pairs for x in pair])


def _name(module: Any, name: Any) -> Name:
  if not (isinstance(module, str) and isinstance(name, str)):
    raise TypeError
  return Name(module, name)


def _storage(given: Any) -> Storage:
  """The persistent id of a storage."""
  tag, kind, key, _, size, *rest = given
  if tag != "storage" or any(x is not None for x in rest):
    raise ValueError("its pickle has a storage of an unknown kind")
  if not (isinstance(kind, Name) and kind.module == "torch"):
    raise ValueError("its pickle has a storage of an unknown type")
  if not isinstance(key, str) or not _count(size):
    raise TypeError
  return Storage(kind.name, key, size)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_) -> Tensor:
  """Arguments of `torch._utils._rebuild_tensor_v2`; the rest is of no use."""
  if not (
    isinstance(storage, Storage)
    and isinstance(shape, tuple)
    and isinstance(strides, tuple)
    and len(shape) == len(strides) <= 8
    and all(map(_count, (offset, *shape, *strides)))
  ):
    raise TypeError
  last = sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
  # Strides of 0 could make any size of a few numbers.
  if math.prod(shape) > storage.size or (
    math.prod(shape) and offset + last >= storage.size
  ):
    raise ValueError("a tensor reaches over its storage")
  return Tensor(storage, offset, shape, strides)


def _count(value: Any) -> bool:
  return type(value) is int and 0 <= value < 1 << 48


_CALLS: dict[Name, Callable[..., Any]] = {
  Name("collections", "OrderedDict"): _ordered_dict,
  Name("torch._utils", "_rebuild_tensor_v2"): _tensor,
  Name("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
}


def _call(function: Any, args: Any) -> Any:
  if not isinstance(function, Name):
    raise TypeError
  if function not in _CALLS:
    raise ValueError(
      f"its pickle calls {function.module}.{function.name}, which a file of"
      " parameters need not"
    )
  if not isinstance(args, tuple):
    raise TypeError
  return _CALLS[function](*args)

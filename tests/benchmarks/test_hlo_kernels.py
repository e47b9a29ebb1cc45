"""Kernels, bytes and FLOPs read from the text of compiled programs."""

import pytest

from benchmarks import gpu_program, hlo_kernels

# As XLA prints a scheduled module for a GPU; metadata left out where unused.
PROGRAM = """HloModule jit_f, is_scheduled=true

%fused_slice (p0: f32[100,8]) -> f32[10,8] {
  %p0 = f32[100,8]{1,0} parameter(0)
  %double = f32[100,8]{1,0} add(%p0, %p0)
  ROOT %cut = f32[10,8]{1,0} slice(%double), slice={[0:10], [0:8]}
}

%body (carry: (s32[], f32[10,8])) -> (s32[], f32[10,8]) {
  %carry = (s32[], f32[10,8]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%carry), index=0
  %x = f32[10,8]{1,0} get-tuple-element(%carry), index=1
  %once = f32[10,8]{1,0} copy(%x)
  ROOT %next = (s32[], f32[10,8]{1,0}) tuple(%i, %once)
}

%condition (carry.1: (s32[], f32[10,8])) -> pred[] {
  %carry.1 = (s32[], f32[10,8]{1,0}) parameter(0)
  %i.1 = s32[] get-tuple-element(%carry.1), index=0
  ROOT %less = pred[] fusion(%i.1), kind=kLoop, calls=%fused_less
}

%fused_less (p.1: s32[]) -> pred[] {
  %p.1 = s32[] parameter(0)
  %ten = s32[] constant(10)
  ROOT %lt = pred[] compare(%p.1, %ten), direction=LT
}

ENTRY %main (a: f32[100,8]) -> (s32[], f32[10,8]) {
  %a = f32[100,8]{1,0} parameter(0), metadata={op_name="a"}
  %zero = s32[] constant(0)
  %start = s32[] copy(%zero)
  %part = f32[10,8]{1,0} fusion(%a), kind=kLoop, calls=%fused_slice, \
metadata={op_name="jit(f)/slice \\"x\\""}
  %state = (s32[], f32[10,8]{1,0}) tuple(%start, %part)
  ROOT %loop = (s32[], /*index=1*/f32[10,8]{1,0}) while(%state), \
condition=%condition, body=%body, metadata={op_name="jit(f)/while"}TRIPS
}
"""


def _kernels(trips: str = ""):
  return hlo_kernels.kernels(hlo_kernels.parse(PROGRAM.replace("TRIPS", trips)))


def test_slices_count_as_what_they_return():
  first = _kernels()[0]
  assert (first.name, first.kind) == ("part", "fusion")
  assert (first.read, first.written) == (320, 320)
  assert first.source == 'jit(f)/slice \\"x\\"'


def test_a_loop_whose_end_the_host_reads():
  module = hlo_kernels.parse(PROGRAM.replace("TRIPS", ""))
  (loop,) = hlo_kernels.decisions(module)
  assert loop == hlo_kernels.Decision("while", "jit(f)/while", 2, 1)
  inside = hlo_kernels.kernels(module)[1:]
  assert [k.kind for k in inside] == ["fusion", "copy"]
  assert not any(k.bounded for k in inside)


def test_a_loop_of_known_length_runs_so_often_and_asks_nobody():
  known = ', backend_config={"known_trip_count":{"n":"7"}}'
  module = hlo_kernels.parse(PROGRAM.replace("TRIPS", known))
  assert not hlo_kernels.decisions(module)
  first, copy = hlo_kernels.kernels(module)
  assert (first.times, copy.times, copy.bounded) == (1, 7, True)


def _fused(body: str) -> tuple[int, int]:
  lines = "\n".join(f"  {line.strip()}" for line in body.strip().splitlines())
  text = f"ENTRY %fused () -> f32[] {{\n{lines}\n}}\n"
  return hlo_kernels.fused_bytes(hlo_kernels.parse(text).computations["fused"])


@pytest.mark.parametrize(
  ("body", "read", "written"),
  [
    pytest.param(
      """%x = bf16[64,16]{1,0} parameter(0)
      %zero = bf16[] constant(0)
      ROOT %sum = bf16[64]{0} reduce(%x, %zero), dimensions={1}, to_apply=%add
      """,
      64 * 16 * 2,
      64 * 2,
      id="a reduction reads all",
    ),
    pytest.param(
      """%x = f32[1000]{0} parameter(0)
      %new = f32[10]{0} parameter(1)
      %at = s32[] parameter(2)
      ROOT %out = f32[1000]{0} dynamic-update-slice(%x, %new, %at)
      """,
      10 * 4 + 4,
      10 * 4,
      id="an update in place",
    ),
    pytest.param(
      """%x = f32[1000,4]{1,0} parameter(0)
      %at = s32[10,1]{1,0} parameter(1)
      %new = f32[10,4]{1,0} parameter(2)
      ROOT %out = f32[1000,4]{1,0} scatter(%x, %at, %new), to_apply=%add
      """,
      10 * 4 * 4 * 2 + 10 * 4,
      10 * 4 * 4,
      id="a scatter adds to what is there",
    ),
    pytest.param(
      """%x = f32[1000,4]{1,0} parameter(0)
      %at = s32[10,1]{1,0} parameter(1)
      %out = f32[10,4]{1,0} gather(%x, %at), offset_dims={1}
      ROOT %pair = (f32[10,4], f32[10,4]) tuple(%out, %out)
      """,
      10 * 4 * 4 + 10 * 4,
      2 * 10 * 4 * 4,
      id="a gather reads rows, and two results are written",
    ),
    pytest.param(
      """%x = f32[8]{0} parameter(0)
      %wide = f32[8,100]{1,0} broadcast(%x), dimensions={0}
      %a = f32[4,100]{1,0} slice(%wide), slice={[0:4], [0:100]}
      %b = f32[4,100]{1,0} slice(%wide), slice={[2:6], [0:100]}
      ROOT %sum = f32[4,100]{1,0} add(%a, %b)
      """,
      8 * 4,
      4 * 100 * 4,
      id="nothing is read twice",
    ),
  ],
)
def test_bytes_of_a_fusion(body, read, written):
  assert _fused(body) == (read, written)


# 8 images, 32 x 32 px, 16 -> 64 channels, 3 x 3: one product in three roles.
@pytest.mark.parametrize(
  ("target", "operands", "result", "labels"),
  [
    ("Forward", ("8,32,32,16", "64,3,3,16"), "8,32,32,64", "b01f_o01i->b01f"),
    (
      "BackwardInput",
      ("8,32,32,64", "64,3,3,16"),
      "8,32,32,16",
      "b01f_o01i->b01f",
    ),
    (
      "BackwardFilter",
      ("8,32,32,16", "8,32,32,64"),
      "64,3,3,16",
      "b01f_o01i->b01f",
    ),
  ],
)
def test_flops_of_convolutions(target, operands, result, labels):
  first, second = operands
  text = f"""ENTRY %main () -> bf16[] {{
  %a = bf16[{first}]{{3,2,1,0}} parameter(0)
  %b = bf16[{second}]{{3,2,1,0}} parameter(1)
  %c = (bf16[{result}]{{3,2,1,0}}, u8[0]{{0}}) custom-call(%a, %b), \
window={{size=3x3 pad=1_1x1_1}}, dim_labels={labels}, \
custom_call_target="__cudnn$conv{target}"
}}
"""
  (kernel,) = hlo_kernels.kernels(hlo_kernels.parse(text))
  assert kernel.flops == 2 * 8 * 32 * 32 * 64 * 3 * 3 * 16
  assert (kernel.kind, kernel.dtype) == ("convolution", "bf16")
  # One TB/s: the bytes take longer than the product.
  moved = kernel.read + kernel.written
  assert gpu_program.roofline_s(kernel, 1e12) == pytest.approx(moved / 1e12)


def test_flops_of_a_product_in_a_fusion():
  text = """HloModule m
%inner (a: bf16[32,64], b: bf16[64,16]) -> f32[32,16] {
  %a = bf16[32,64]{1,0} parameter(0)
  %b = bf16[64,16]{1,0} parameter(1)
  ROOT %c = f32[32,16]{1,0} dot(%a, %b), lhs_contracting_dims={1}, \
rhs_contracting_dims={0}
}
ENTRY %main (x: bf16[32,64], y: bf16[64,16]) -> f32[32,16] {
  %x = bf16[32,64]{1,0} parameter(0)
  %y = bf16[64,16]{1,0} parameter(1)
  ROOT %z = f32[32,16]{1,0} fusion(%x, %y), kind=kCustom, calls=%inner
}
"""
  (kernel,) = hlo_kernels.kernels(hlo_kernels.parse(text))
  assert (kernel.kind, kernel.dtype) == ("matmul", "bf16")
  assert kernel.flops == 2 * 32 * 64 * 16


def test_copies_to_and_from_the_host():
  """What only computes, or copies within the device, does not count."""
  text = """ENTRY %main (x: f32[8]) -> f32[8] {
  %x = f32[8]{0} parameter(0)
  %near = f32[8]{0} copy(%x)
  %start = (f32[8]{0:S(5)}, f32[8]{0}, u32[]) copy-start(%near)
  %there = f32[8]{0:S(5)} copy-done(%start)
  %back = f32[8]{0} copy(%there)
  %token = token[] after-all()
  %said = token[] outfeed(%back, %token)
  ROOT %twice = f32[8]{0} fusion(%back), kind=kLoop, calls=%double
}
"""
  assert hlo_kernels.host_copies(hlo_kernels.parse(text)) == 3


def test_text_without_a_program():
  with pytest.raises(ValueError, match="no ENTRY"):
    hlo_kernels.parse("HloModule nothing")

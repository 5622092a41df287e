"""Map look-ups that the verifier inlines (map_gen_lookup of each map type, called from do_misc_fixups).

All of them are `call map_lookup_elem` in the program as loaded. Offsets inside struct bpf_array and the element sizes are placeholders:
pointer arithmetic on a map (r1) is illegal in a program as loaded, so the sequences can't be anything else.
"""

from __future__ import annotations

from bpflens.original.rewrites.template import Rewrite, rewrite

__all__ = ("TEMPLATES",)

_LOOKUP = "call #1"
_HTAB = "call __htab_map_lookup_elem"


def _array(name: str, tail: str, tail_slots: int) -> list[Rewrite]:
    """array_map_gen_lookup and those alike: bounds check, scaling by shift or multiplication, with or without the index mask
    of maps created without CAP_PERFMON."""
    rows = []
    for scale in ("r0 <<= {shift}", "r0 *= {factor}"):
        for mask, extra in (("", 0), ("w0 &= {mask}; ", 1)):
            skip = 2 + extra + tail_slots
            text = f"r1 += {{value}}; r0 = *(u32*)(r2+0); if r0 >= {{max}} goto +{skip}; {mask}{scale}; r0 += r1; {tail}r0 = 0"
            rows.append(rewrite(name, text, _LOOKUP))
    return rows


TEMPLATES = (
    *_array("inlined map_lookup_elem (array)", "goto +1; ", 1),
    *_array("inlined map_lookup_elem (percpu_array)", "r0 = *(u64*)(r0+0); r0 = percpu r0; goto +1; ", 3),
    *_array("inlined map_lookup_elem (array_of_maps)", "r0 = *(u64*)(r0+0); if r0 == 0 goto +1; goto +1; ", 3),
    *(
        rewrite(
            "inlined map_lookup_elem (xskmap)",
            f"r0 = *(u32*)(r2+0); if {r0} >= {{max}} goto +5; r0 <<= 3; r1 += {{value}}; r0 += r1; r0 = *(u64*)(r0+0); goto +1; r0 = 0",
            _LOOKUP,
        )
        for r0 in ("r0", "w0")  # 32 bits in 6.1 and 6.12
    ),
    rewrite("inlined map_lookup_elem (hash)", f"{_HTAB}; if r0 == 0 goto +1; r0 += {{value}}", _LOOKUP),
    rewrite(
        "inlined map_lookup_elem (lru_hash)",
        f"{_HTAB}; if r0 == 0 goto +4; r1 = *(u8*)(r0+{{ref}}); if r1 != 0 goto +1; *(u8*)(r0+{{ref}}) = 1; r0 += {{value}}",
        _LOOKUP,
    ),
    rewrite(
        "inlined map_lookup_elem (percpu_hash)",
        f"{_HTAB}; if r0 == 0 goto +3; r0 += {{value}}; r0 = *(u64*)(r0+0); r0 = percpu r0",
        _LOOKUP,
    ),
    rewrite(
        "inlined map_lookup_elem (hash_of_maps)",
        f"{_HTAB}; if r0 == 0 goto +2; r0 += {{value}}; r0 = *(u64*)(r0+0)",
        _LOOKUP,
    ),
)

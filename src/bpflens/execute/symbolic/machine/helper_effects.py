"""What each helper reads and writes through its arguments, and where its result points.

One letter for each argument (from struct bpf_func_proto and BPF_CALL_n in kernel/bpf/, kernel/trace/bpf_trace.c, net/core/filter.c, Linux
6.1; the widths are those of both the prototype in the uapi header and BPF_CALL_n, the wider where they differ or where the verifier
replaces the call by code that uses all 64 bits):

    n   64 bits               u   the low 32 bits              c   context             p   pointer to something that is not on the stack
    m   map                   k   key of the map, read         v   value, read         V   value, written
    r   buffer, read          w   buffer, every byte written   o   buffer, some bytes written     b   read and some bytes written
    t   constant string       ...  what the format asks for    f   callback            x   context of the callback
    l   address that is read, as many bytes as the argument before says
    R16 W8 B4 D16             16 bytes read, some of 8 written, 4 read and some written, all of 16 written (a dynptr that is made)

The size of a buffer is the next argument, or the map's key and value size. Every call may change all memory except the stack, the
constants and what is behind "stack" arguments that are not written.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from bpflens.isa.extended.uapi import HelperId

__all__ = (
    "CALLBACKS", "CHANGES_PACKET", "FRESH", "INNER_MAP_TYPES", "LOOKUPS", "ORDINARY", "POINTER_RESULTS", "TAIL_CALL", "Argument",
    "arguments", "conversions",
)  # fmt: skip

_ARGUMENTS = """
1 mk, 2 mkvn, 3 mk, 4 wul, 5, 6 ru..., 7, 8, 9 curun, 10 cunnn, 11 cunnn, 12 cmu, 13 cun, 14, 15, 16 wu, 17 c, 18 cuu, 19 c, 20 coun,
21 crun, 22 mn, 23 un, 24 c, 25 cmnrn, 26 cuwu, 27 cmn, 28 ruruu, 29 cou, 30 cru, 31 cun, 32 cu, 33 cmu, 34 c, 35, 36 nru, 37 mu, 38 cun,
39 cu, 40 cu, 41 c, 42, 43 cun, 44 cu, 45 oul, 46 c, 47 c, 48 cu, 49 puuru, 50 cuun, 51 mnn, 52 cmun, 53 cmkn, 54 cu, 55 mnou, 56 cou,
57 puuou, 58 cn, 59 cu, 60 cmun, 61 cu, 62 cu, 63 cuun, 64 cru, 65 cu, 66 cuoun, 67 coun, 68 cuwuu, 69 cbuu, 70 cmkn, 71 cmkn, 72 cmkn,
73 curu, 74 curu, 75 cuu, 76 curu, 77 c, 78 cunu, 79 c, 80, 81 mn, 82 cmkn, 83 cu, 84 crunn, 85 crunn, 86 p, 87 mvn, 88 mV, 89 mV,
90 cuun, 91 cuun, 92 cuu, 93 p, 94 p, 95 p, 96 p, 97 c, 98 p, 99 crunn, 100 pruru, 101 cbnn, 102 con, 103 con, 104 crn, 105 rnnW8,
106 rnnW8, 107 mpvn, 108 mp, 109 u, 110 pruru, 111 pmnrn, 112 wun, 113 wul, 114 oun, 115 oul, 116 pu, 117 u, 118, 119 cbun, 120 nnou,
121 pmnrn, 122 c, 123 u, 124 cpn, 125, 126 pruru, 127 pru, 128 p, 129 pu, 130 mrnn, 131 mnn, 132 pn, 133 pn, 134 mn, 135 cn, 136 p,
137 p, 138 p, 139 p, 140 p, 141 poun, 142 cbun, 143 crun, 144 cun, 145 mpvn, 146 mp, 147 pbu, 148 wun, 149 burun, 150 prun, 151 c,
152 urun, 153 pu, 154 p, 155 un, 156 mpvn, 157 mp, 158, 159 pn, 160, 161 pou, 162 p, 163 cuB4un, 164 mfxn, 165 butru, 166 ubu, 167 ruuu,
168 u, 169 pmn, 170 pf, 171 pnn, 172 p, 173 c, 174 c, 175 p, 176 onn, 177 ruru, 178 p, 179 ruuW8, 180 pnfxn, 181 nfxn, 182 rut, 183 cnW8,
184 cW8, 185 c, 186, 187 u, 188 c, 189 cuou, 190 curu, 191 ounpn, 192 cnu, 193 pou, 194 pp, 195 mkn, 196 p, 197 punD16, 198 munD16,
199 B16n, 200 B16n, 201 ouR16un, 202 R16urun, 203 R16uu, 204 B20bu, 205 B40bu, 206 B20B20, 207 B40B20, 208, 209 mfxn, 210 mpvn, 211 mp
"""

LOOKUPS = frozenset((HelperId.map_lookup_elem, HelperId.map_lookup_percpu_elem))
"""The result points into the map."""
INNER_MAP_TYPES = (12, 13)  # ARRAY_OF_MAPS, HASH_OF_MAPS: values are maps
TAIL_CALL = 12

# Results that point to memory of their own kind: values of local storage, which no look-up reaches, a reservation, a dynptr's data.
FRESH = {81: "cgroup storage", 107: "storage", 145: "storage", 156: "storage", 210: "storage", 131: "reservation", 203: "any"}
_KERNEL = (84, 85, 95, 96, 98, 99, 136, 137, 138, 139, 140, 153, 154, 158, 162, 175, 178, 194, 196)
POINTER_RESULTS: dict[int, str] = {**dict.fromkeys(_KERNEL, "kernel"), **FRESH, **dict.fromkeys(LOOKUPS, "map")}

# bpf_helper_changes_pkt_data, net/core/filter.c: pointers into the packet are not valid after these.
ORDINARY = frozenset((
    HelperId.map_lookup_elem, HelperId.map_update_elem, HelperId.map_delete_elem, HelperId.ktime_get_ns, HelperId.trace_printk,
    HelperId.get_prandom_u32, HelperId.get_smp_processor_id, HelperId.get_current_pid_tgid, HelperId.get_current_uid_gid,
    HelperId.get_current_comm, HelperId.perf_event_output, HelperId.get_current_task, HelperId.jiffies64, HelperId.ktime_get_boot_ns,
    HelperId.ringbuf_output, HelperId.ringbuf_reserve, HelperId.ringbuf_submit, HelperId.ringbuf_discard, HelperId.ktime_get_coarse_ns,
    HelperId.redirect_map, HelperId.redirect, HelperId.probe_read_user, HelperId.probe_read_kernel,
))  # fmt: skip
"""Their results a model may choose freely without making what no kernel does."""
CHANGES_PACKET = frozenset((
    HelperId.skb_store_bytes, HelperId.l3_csum_replace, HelperId.l4_csum_replace, HelperId.clone_redirect, HelperId.skb_vlan_push,
    HelperId.skb_vlan_pop, HelperId.skb_change_proto, HelperId.skb_change_tail, HelperId.skb_pull_data, HelperId.skb_change_head,
    HelperId.xdp_adjust_head, HelperId.skb_adjust_room, HelperId.xdp_adjust_meta, HelperId.msg_pull_data, HelperId.xdp_adjust_tail,
    HelperId.lwt_push_encap, HelperId.lwt_seg6_store_bytes, HelperId.lwt_seg6_adjust_srh, HelperId.lwt_seg6_action,
    HelperId.msg_push_data, HelperId.msg_pop_data, HelperId.store_hdr_opt,
))  # fmt: skip

# Helpers that call a function of the program -> what that gets: index, map, key, element, dynptr, kernel object, its own context.
CALLBACKS = {181: "ix", 164: "mkex", 170: "mke", 180: "ppx", 209: "dx"}


class Argument(NamedTuple):
    """`kind`: a letter; `size` in bytes for R, W and B."""

    kind: str
    size: int = 0


@cache
def _table() -> dict[int, str]:
    rows = (row.split() for row in _ARGUMENTS.replace("\n", " ").split(","))
    return {int(row[0]): row[1] if len(row) > 1 else "" for row in rows}


@cache
def arguments(helper: int) -> tuple[Argument, ...] | None:
    """The arguments of a helper; None where nothing is known of it."""
    text = _table().get(helper)
    if text is None:
        return None
    if text.endswith("..."):
        text = text[:-3] + "." * (5 - len(text[:-3]))
    return tuple(Argument(kind, int(size or 0)) for kind, size in re.findall(r"([A-Za-z.])(\d*)", text))


def conversions(text: bytes) -> list[int]:
    """The widths in bits of what a format takes: int unless it says "l", pointers 64 (bpf_bprintf_prepare, kernel/bpf/helpers.c)."""
    widths = []
    for found in re.finditer(rb"%(%|[0+\- ]*[0-9]*(l{0,2})([a-zA-Z]))", text.split(b"\0")[0]):
        if found[1] != b"%":
            widths.append(32 if not found[2] and found[3] in b"diuxXc" else 64)
    return widths

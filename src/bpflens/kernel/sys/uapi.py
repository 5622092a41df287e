"""Layouts of structures that bpf(2) fills: member -> (offset in bytes, format of the module struct).

Written by scripts/make-uapi from the types of a kernel. An older kernel fills less of them, a newer one more.
"""

from __future__ import annotations

Layout = dict[str, tuple[int, str]]

__all__ = ("BPF_BTF_INFO", "BPF_MAP_INFO", "BPF_PROG_INFO", "Layout")

BPF_PROG_INFO: Layout = {
    "type": (0, "I"),
    "id": (4, "I"),
    "tag": (8, "8s"),
    "jited_prog_len": (16, "I"),
    "xlated_prog_len": (20, "I"),
    "jited_prog_insns": (24, "Q"),
    "xlated_prog_insns": (32, "Q"),
    "load_time": (40, "Q"),
    "created_by_uid": (48, "I"),
    "nr_map_ids": (52, "I"),
    "map_ids": (56, "Q"),
    "name": (64, "16s"),
    "ifindex": (80, "I"),
    "gpl_compatible": (84, "I"),
    "netns_dev": (88, "Q"),
    "netns_ino": (96, "Q"),
    "nr_jited_ksyms": (104, "I"),
    "nr_jited_func_lens": (108, "I"),
    "jited_ksyms": (112, "Q"),
    "jited_func_lens": (120, "Q"),
    "btf_id": (128, "I"),
    "func_info_rec_size": (132, "I"),
    "func_info": (136, "Q"),
    "nr_func_info": (144, "I"),
    "nr_line_info": (148, "I"),
    "line_info": (152, "Q"),
    "jited_line_info": (160, "Q"),
    "nr_jited_line_info": (168, "I"),
    "line_info_rec_size": (172, "I"),
    "jited_line_info_rec_size": (176, "I"),
    "nr_prog_tags": (180, "I"),
    "prog_tags": (184, "Q"),
    "run_time_ns": (192, "Q"),
    "run_cnt": (200, "Q"),
    "recursion_misses": (208, "Q"),
    "verified_insns": (216, "I"),
    "attach_btf_obj_id": (220, "I"),
    "attach_btf_id": (224, "I"),
}

BPF_MAP_INFO: Layout = {
    "type": (0, "I"),
    "id": (4, "I"),
    "key_size": (8, "I"),
    "value_size": (12, "I"),
    "max_entries": (16, "I"),
    "map_flags": (20, "I"),
    "name": (24, "16s"),
    "ifindex": (40, "I"),
    "btf_vmlinux_value_type_id": (44, "I"),
    "netns_dev": (48, "Q"),
    "netns_ino": (56, "Q"),
    "btf_id": (64, "I"),
    "btf_key_type_id": (68, "I"),
    "btf_value_type_id": (72, "I"),
    "btf_vmlinux_id": (76, "I"),
    "map_extra": (80, "Q"),
    "hash": (88, "Q"),
    "hash_size": (96, "I"),
}

BPF_BTF_INFO: Layout = {
    "btf": (0, "Q"),
    "btf_size": (8, "I"),
    "id": (12, "I"),
    "name": (16, "Q"),
    "name_len": (24, "I"),
    "kernel_btf": (28, "I"),
}

"""The kernel-side reader: what no interface tells, read by small BPF programs of our own with offsets from the kernel's BTF.

    kernel/memory/   loads the programs, reads kernel memory and runs iterators; takes everything away again
    images.py        struct bpf_prog -> id, classic code or converted image
    structures/      one file per family, each with `find(ctx)` as in the official families
    merge.py         what was found here completes or replaces the official rows

Nothing is attached and no debug information, compiler or kernel module is needed. Needs CAP_BPF and CAP_PERFMON.
"""

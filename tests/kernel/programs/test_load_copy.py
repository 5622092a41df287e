"""Copies of loaded programs, and what the verifier makes of small ones."""

from __future__ import annotations

import os

import pytest

from bpflens.errors import KernelError
from bpflens.isa.extended.asm import assemble
from bpflens.isa.extended.insn import Insn, decode, words
from bpflens.kernel.maps.maps import map_by_fd
from bpflens.kernel.programs.load import create_map
from bpflens.kernel.programs.load_attributes import Attributes
from bpflens.kernel.programs.load_copy import Copy, Like
from bpflens.kernel.programs.rewritten import Prober, probe_map

pytestmark = pytest.mark.live
SOCKET_FILTER, SCHED_CLS = 1, 3


def insns(text):
    return decode(assemble(text, "kernel"))


def descriptors():
    return sorted(os.listdir("/proc/self/fd"))


def test_a_copy_refers_to_maps_by_id_and_leaves_no_descriptor():
    before = descriptors()
    map = create_map(1, 4, 8, 4)
    id = map_by_fd(map, types=False).id
    code = words(assemble(f"r1 = map[fd:{id}]\nr0 = 0\nexit\n", "kernel"))
    with Copy(code, Like(SOCKET_FILTER)) as copy:
        dump = copy.dump(Attributes(0))
    os.close(map)

    assert dump.map_ids == (id,)
    assert descriptors() == before


def test_a_refused_copy_has_the_log_and_leaves_no_descriptor():
    before = descriptors()
    with Copy(words(assemble("r0 = r5\nexit\n", "kernel")), Like(SOCKET_FILTER)) as copy, pytest.raises(KernelError) as refused:
        copy.dump(Attributes(0))

    assert "R5 !read_ok" in refused.value.log
    assert descriptors() == before


def test_a_map_that_is_gone_is_an_error():
    code = words(assemble("r1 = map[fd:4294967294]\nr0 = 0\nexit\n", "kernel"))
    with pytest.raises(KernelError):
        Copy(code, Like(SOCKET_FILTER))


def test_the_prober_reads_images_and_tags():
    prober = Prober(SCHED_CLS)
    text = "r0 = *(u32 *)(r1 +16)\nexit\n"  # skb->protocol is shorter in the kernel

    assert prober.image(insns("r0 = 0\nexit\n")) == tuple(insn.word for insn in insns("r0 = 0\nexit\n"))
    image = prober.image(insns(text))
    assert image is not None and Insn(image[0]).off != 16
    assert prober.image(insns("r0 = r5\nexit\n")) is None
    assert len(prober.tag(insns(text))) == 16
    assert prober.tag(insns("r0 = r5\nexit\n")) is None


def test_a_map_for_probes_is_closed():
    before = descriptors()
    with probe_map(2, 4, 4, 1) as fd:
        assert map_by_fd(fd, types=False).type == 2
    assert descriptors() == before

"""Our three sets of rules say what the three consumers say: the running kernel (sockets and seccomp) and libpcap."""

from __future__ import annotations

import ctypes
import os
import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bpflens.errors import InputError
from bpflens.formats.pcap import libpcap
from bpflens.isa.classic.check import Refusal, check, runs_in_libpcap
from bpflens.isa.classic.insn import SockFilter, encode
from bpflens.isa.classic.table import ANCILLARY, BY_CODE, SKF_AD_OFF
from classic_oracles import kernel_filter

RET = SockFilter(6, 0, 0, 0)
K = st.one_of(
    st.integers(0, 33),
    st.sampled_from([SKF_AD_OFF + anc.offset for anc in ANCILLARY]),
    st.sampled_from([SKF_AD_OFF - 1, SKF_AD_OFF + 1, SKF_AD_OFF + 64, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 60, 61, 64]),
)
KNOWN = [code for code, row in BY_CODE.items() if row.socket]
MEMORY = st.sampled_from([0x02, 0x03, 0x60, 0x61])
CODE = st.one_of(st.sampled_from(KNOWN), MEMORY, st.sampled_from(KNOWN), st.sampled_from(sorted(BY_CODE)), st.integers(0, 0xFFFF))
SKIP = st.integers(0, 4)
BODY = st.builds(SockFilter, CODE, SKIP, SKIP, K)
LIKELY = st.one_of(
    BODY,
    st.builds(SockFilter, MEMORY, st.just(0), st.just(0), st.integers(0, 3)),
    st.builds(SockFilter, st.sampled_from([0x15, 0x1D, 0x45]), SKIP, SKIP, K),
    st.builds(SockFilter, st.just(5), st.just(0), st.just(0), SKIP),
    st.just(RET),
)
TAIL = st.lists(st.sampled_from([RET, SockFilter(0x16, 0, 0, 0)]), min_size=1, max_size=5)
PROGRAMS = st.one_of(
    st.lists(BODY, min_size=1, max_size=12),
    st.builds(lambda body, tail: [*body, *tail], st.lists(LIKELY, max_size=12), TAIL),
).map(tuple)


def attaches(insns) -> bool:
    try:
        with kernel_filter(insns):
            return True
    except OSError as error:
        assert error.errno == 22, error
        return False


@given(PROGRAMS)
@settings(max_examples=400)
@example((SockFilter(2, 0, 0, 0), RET, SockFilter(0x60, 0, 0, 0), RET))  # the mask is not reset behind a ret
@example((RET, SockFilter(0x60, 0, 0, 0), RET))
def test_socket_rules_are_those_of_the_running_kernel(insns):
    assert attaches(insns) == (check(insns, "socket") == [])


def test_length_limits_of_the_kernel():
    for count in (1, 4096, 4097):
        assert attaches((RET,) * count) == (check((RET,) * count, "socket") == [])
    assert check((), "socket") == [Refusal(None, "0 instructions; a kernel filter has 1 to 4096")]


class SeccompChild:
    """A child process that tries filters on itself.

    seccomp(2) checks a filter before it installs it. Every filter is tried with SECCOMP_FILTER_FLAG_NEW_LISTENER in a process whose
    listener exists already, which the kernel refuses with EBUSY after the check; a bad filter gives EINVAL. Nothing is installed but
    the first, which allows all.
    """

    SYS_SECCOMP = 317
    NEW_LISTENER = 1 << 3

    def __init__(self) -> None:
        request, self.write = os.pipe()
        self.read, answer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.write)
                os.close(self.read)
                self._serve(request, answer)
            finally:
                os._exit(1)
        os.close(request)
        os.close(answer)

    def _serve(self, request: int, answer: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
        os.write(answer, b"%4d" % self._install(libc, encode([(6, 0, 0, 0x7FFF0000)])))
        while size := os.read(request, 4):
            image = os.read(request, struct.unpack("I", size)[0])
            os.write(answer, b"%4d" % self._install(libc, image))
        os._exit(0)

    def _install(self, libc: ctypes.CDLL, image: bytes) -> int:
        buffer = ctypes.create_string_buffer(image, len(image) or 1)
        fprog = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(image) // 8, ctypes.addressof(buffer)), 16)
        result = libc.syscall(self.SYS_SECCOMP, 1, self.NEW_LISTENER, fprog)
        return 0 if result >= 0 else ctypes.get_errno()

    def accepts(self, insns) -> bool:
        image = encode(insns)
        os.write(self.write, struct.pack("I", len(image)) + image)
        errno = int(os.read(self.read, 4))
        assert errno in (16, 22), os.strerror(errno)  # EBUSY: past the check
        return errno == 16

    def close(self) -> None:
        os.close(self.write)
        os.close(self.read)
        os.waitpid(self.pid, 0)


@pytest.fixture(scope="module")
def seccomp():
    if os.uname().machine != "x86_64":
        pytest.skip("needs x86_64 (number of seccomp(2))")
    child = SeccompChild()
    assert int(os.read(child.read, 4)) == 0
    yield child
    child.close()


SECCOMP_CODES = [code for code, row in BY_CODE.items() if row.seccomp and row.socket]
SECCOMP_BODY = st.builds(
    SockFilter, st.sampled_from(SECCOMP_CODES), SKIP, SKIP, st.one_of(st.sampled_from([0, 4, 60, 64, 2, 15, 31]), K)
)


@given(st.one_of(PROGRAMS, st.builds(lambda body, tail: (*body, *tail), st.lists(SECCOMP_BODY, max_size=4), TAIL)))
@settings(max_examples=400)
def test_seccomp_rules_are_those_of_the_running_kernel(seccomp, insns):
    assert seccomp.accepts(insns) == (check(insns, "seccomp") == [])


def test_every_code_against_seccomp(seccomp):
    for code in range(0x100):
        insns = (SockFilter(2, 0, 0, 4), SockFilter(code, 0, 0, 4), RET, RET, RET, RET, RET)
        assert seccomp.accepts(insns) == (check(insns, "seccomp") == [])


@given(PROGRAMS)
@settings(max_examples=400)
def test_libpcap_rules_are_those_of_bpf_validate(insns):
    assert libpcap.validate(insns) == (check(insns, "libpcap") == [])


def test_every_code_against_bpf_validate():
    for code in range(0x10000):
        for k in (0, 15, 16):
            insns = (SockFilter(code, 0, 0, k), RET)
            assert libpcap.validate(insns) == (check(insns, "libpcap") == [])


@given(PROGRAMS, st.binary(max_size=64))
def test_programs_that_run_in_libpcap_do_not_end_the_process(insns, packet):
    """bpf_filter aborts or loops on others, which are refused."""
    if runs_in_libpcap(insns):
        assert 0 <= libpcap.run(insns, packet) <= 0xFFFFFFFF
    else:
        with pytest.raises(InputError):
            libpcap.run(insns, packet)


REASONS = [
    ("socket", [SockFilter(0xFFFF, 0, 0, 0), RET], "insn 0: unknown code 0xffff"),
    ("socket", [SockFilter(0x34, 0, 0, 0), RET], "insn 0: div by constant 0"),
    ("socket", [SockFilter(0x64, 0, 0, 32), RET], "insn 0: lsh by 32; the register has 32 bits"),
    ("socket", [SockFilter(2, 0, 0, 16), RET], "insn 0: scratch memory word 16; there are 16"),
    ("socket", [SockFilter(0x60, 0, 0, 3), RET], "insn 0: M[3] is read but not written on every path to here"),
    ("socket", [SockFilter(0x15, 1, 0, 3), RET], "insn 0: true branch jumps to 2; the program ends at 1"),
    ("socket", [RET, SockFilter(5, 0, 0, 0xFFFFFFFE), RET], "insn 1: jump by 4294967294 leaves the program of 3 instructions"),
    ("socket", [SockFilter(0x20, 0, 0, SKF_AD_OFF + 1), RET], "insn 0: unknown ancillary load SKF_AD_OFF + 1"),
    ("socket", [SockFilter(7, 0, 0, 0)], "insn 0: the last instruction is not ret #k or ret a"),
    ("socket", [SockFilter(0x0E, 0, 0, 0), RET], "insn 0: ret x is not allowed in a kernel filter"),
    ("seccomp", [SockFilter(0x28, 0, 0, 0), RET], "insn 0: ldh (load packet bytes at k) is not allowed in a seccomp filter"),
    ("seccomp", [SockFilter(0x20, 0, 0, 62), RET], "insn 0: load at 62; struct seccomp_data has aligned words at 0 to 60"),
    ("libpcap", [SockFilter(0xE0, 0, 0, 0), RET], "insn 0: unknown load mode in code 0x00e0"),
    ("libpcap", [], "no instructions"),
    ("libpcap", [RET, SockFilter(5, 0, 0, 0xFFFFFFF0), RET], "insn 1: jump by -16 leaves the program of 3 instructions"),
]


@pytest.mark.parametrize(("rules", "insns", "reason"), REASONS)
def test_reasons(rules, insns, reason):
    assert str(check(insns, rules)[0]).startswith(reason)


def test_programs_of_real_software(seccomp):
    """The corpus: the kernel, its seccomp and libpcap take each program exactly as our rules say."""
    import json
    from pathlib import Path

    corpus = json.loads((Path(__file__).parents[2] / "corpus" / "cbpf_corpus.json").read_text())
    refused = []
    for entry in corpus:
        insns = tuple(SockFilter(*insn) for insn in entry["insns"])
        assert attaches(insns) == (check(insns, "socket") == [])
        assert seccomp.accepts(insns) == (check(insns, "seccomp") == [])
        assert libpcap.validate(insns) == (check(insns, "libpcap") == [])
        if check(insns, "seccomp" if entry["kind"] == "seccomp" else "socket"):
            refused.append(entry["name"])
    assert refused == []

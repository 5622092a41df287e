"""The recorder at the exit of bpf(2) under another kernel: tests/kernels/run 6.1 --shell "python tests/live/record_at_exit.py"."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bpflens.isa.extended.asm import assemble
from bpflens.isa.extended.insn import words
from bpflens.kernel.programs.load import load_program
from bpflens.kernel.programs.prog_info import prog_info_by_fd
from bpflens.kernel.recorder.recorder import Recorder
from bpflens.original.image.tag import tags

SOCKET_FILTER = 1


def main() -> int:
    """Programs of many lengths with a part that the verifier removes: how many came in whole, with the kernel's tag."""
    whole = 0
    lengths = (0, 1, 40, 1000, 1100, 3000, 20_000)
    with Recorder.working(1 << 21) as recorder:
        way = "at the exit of bpf(2)" if recorder.at_exit else "before the verifier"
        for length in lengths:
            code = assemble("r0 = 7\nif r0 == 7 goto out\n" + "r1 = 5\n" * min(length, 30_000) + "out: exit")
            fd = load_program(code, SOCKET_FILTER, name="bpflens_try")
            tag = prog_info_by_fd(fd).tag
            loads = [load for load in recorder.loads() if load.name == "bpflens_try"]
            whole += len(loads) == 1 and loads[0].code == code and tag in tags(words(loads[0].code))
            os.close(fd)
        print(f"{os.uname().release}: {way}, {whole} of {len(lengths)} whole with the kernel's tag, {recorder.counters()}")
    return whole != len(lengths)


if __name__ == "__main__":
    sys.exit(main())

"""Images of the matrix's programs, what they were, and the rules of the kernel that made them: for tests where no kernel can be asked.

    python tests/original/dumps.py > tests/corpus/original_dumps.json

Of the rules only those are kept that the images need. Left out are programs that take more than an image and rules: a symbol's address, the
types of maps, how many instructions the verifier walked.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from bpflens.errors import BpflensError
from bpflens.original.image.image import of_code
from bpflens.original.kernels.exported import Exported, export_templates
from bpflens.original.recover import recover
from bpflens.original.result import Grade, Original
from original.load import loaded
from original.matrix import ROWS

TYPES = ("sched_cls", "socket_filter", "xdp", "sock_ops")
CODE_AND_OFF = 0xFFFF00FF
INLINED = ("bpf_cast_to_kern_ctx", "bpf_rdonly_cast")  # no image calls them


def main() -> None:
    """One line for each program."""
    with tempfile.NamedTemporaryFile() as file:
        export_templates(file.name)
        rules = json.loads(Path(file.name).read_text())
        kernel = Exported(file.name)
    programs, firsts, imms = [], set(), set()
    for row in ROWS:
        if row.type not in TYPES or row.grade != "exact":
            continue
        with contextlib.suppress(BpflensError), loaded(row) as program:
            found = recover(program.id)
            words = found.image.words
            if not _enough(found, kernel):
                continue
            functions = [list(record) for record in found.image.func_info]
            entry = {"name": row.name, "type": found.image.prog_type, "tag": program.tag, "functions": functions}
            programs.append({**entry, "image": _hex(words), "original": found.code.hex()})
            firsts |= {word & CODE_AND_OFF for word in words}
            imms |= {(word >> 32 ^ 1 << 31) - (1 << 31) for word in words if word & 0xFF == 0x85}
    rules["functions"] = {name: imm for name, imm in rules["functions"].items() if imm in imms or name in INLINED}
    rules["btf_ids"] = {name: id for name, id in rules["btf_ids"].items() if name in rules["functions"]}
    types = {str(program["type"]) for program in programs}
    rules["contexts"] = {type: _needed(rows, firsts) for type, rows in rules["contexts"].items() if type in types}
    rules["sockets"] = {kind: _needed(rows, firsts) for kind, rows in rules["sockets"].items()}
    lines = ",\n".join(json.dumps(program, separators=(",", ":")) for program in programs)
    print(f'{{"rules": {json.dumps(rules, separators=(",", ":"))},\n"programs": [\n{lines}\n]}}')


def _enough(found: Original, kernel: Exported) -> bool:
    """Whether the image alone gives the original."""
    image = found.image
    alone = of_code(b"".join(word.to_bytes(8, "little") for word in image.words), image.prog_type, tag=image.tag, func_info=image.func_info)
    return recover(alone, kernel).grade is Grade.EXACT


def _hex(words: list[int]) -> str:
    return b"".join(word.to_bytes(8, "little") for word in words).hex()


def _needed(rows: list[list[object]], firsts: set[int]) -> list[list[object]]:
    """Rows whose image may begin at a word of the programs."""
    return [row for row in rows if len(row) > 4 and int(str(row[4])) & CODE_AND_OFF in firsts]


if __name__ == "__main__":
    main()

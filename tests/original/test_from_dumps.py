"""Originals from images alone, with the rules of the kernel that made them: no kernel is asked, whatever machine this runs on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bpflens.original.image.image import of_code
from bpflens.original.image.tag import blanked
from bpflens.original.kernels.exported import Exported
from bpflens.original.recover import recover
from bpflens.original.result import Grade

DUMPS = json.loads((Path(__file__).parent.parent / "corpus" / "original_dumps.json").read_text())  # made by dumps.py


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    rules = tmp_path_factory.mktemp("rules") / "kernel.json"
    rules.write_text(json.dumps(DUMPS["rules"]))
    return Exported(str(rules))


@pytest.mark.parametrize("program", DUMPS["programs"], ids=lambda program: program["name"])
def test_an_image_gives_its_original(program: dict[str, object], kernel: Exported) -> None:
    code = bytes.fromhex(str(program["image"]))
    functions = [(start, type) for start, type in program["functions"]]  # type: ignore[attr-defined]

    found = recover(of_code(code, program["type"], "dump", tag=program["tag"], func_info=functions), kernel)  # type: ignore[arg-type]

    assert found.grade is Grade.EXACT, found.reason
    assert blanked(_words(found.code)) == blanked(_words(bytes.fromhex(str(program["original"]))))


def _words(code: bytes) -> list[int]:
    return [int.from_bytes(code[at : at + 8], "little") for at in range(0, len(code), 8)]

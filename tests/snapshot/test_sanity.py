"""What a manifest cannot say."""

from __future__ import annotations

import pytest

from bpflens.errors import InputError
from bpflens.formats.snapshot.manifest import SCHEMA, Manifest, SavedTarget
from bpflens.formats.snapshot.sanity import LARGEST_RECORD, check
from snapshot import made


def manifest(**parts: object) -> Manifest:
    return Manifest(SCHEMA, "test", "2026-01-01", made.KERNEL, members={}, **parts)  # type: ignore[arg-type]


def loaded_for(id: int, program: int | None) -> object:
    return made.program(id, target=SavedTarget("f", program=program))


SAID = [
    ({"programs": (made.program(1), made.program(1))}, "program 1: is there twice"),
    ({"maps": (made.map(2), made.map(2))}, "map 2: is there twice"),
    ({"maps": (made.map(-1),)}, "map -1: has an id that no kernel gives"),
    ({"programs": (made.program(1 << 32),)}, "has an id that no kernel gives"),
    ({"maps": (made.map(2, key=-4),)}, "map 2: has sizes that no map has"),
    ({"maps": (made.map(2, entries=1 << 32),)}, "map 2: has sizes that no map has"),
    ({"programs": (made.program(3, type=-1),)}, "program 3: has numbers that no program has"),
    ({"maps": (made.map(2, data=made.data(2, "elements", -1, 4, 8)),)}, "map 2: has contents of sizes that no map has"),
    ({"maps": (made.map(2, data=made.data(2, "elements", 1, LARGEST_RECORD, 8)),)}, "map 2: has contents of sizes that no map has"),
    ({"programs": (loaded_for(1, 1),)}, "program 1: was loaded for itself"),
    ({"programs": (loaded_for(1, 2), loaded_for(2, 3), loaded_for(3, 1))}, "was loaded for itself, the manifest says, or for one"),
]


@pytest.mark.parametrize(("parts", "said"), SAID)
def test_contradictions_are_named(parts: dict[str, object], said: str) -> None:
    with pytest.raises(InputError) as error:
        check(manifest(**parts))
    assert said in str(error.value)


def test_what_a_kernel_can_give_is_fine() -> None:
    """A chain of extensions, one for a program that was not saved, the largest numbers."""
    check(manifest(programs=(loaded_for(3, 2), loaded_for(2, 1), made.program(1), loaded_for(4, 99)), maps=(made.map((1 << 32) - 1),)))
    check(manifest(maps=(made.map(2, data=made.data(2, "elements", 5, 4, LARGEST_RECORD - 4)),)))

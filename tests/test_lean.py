"""The lean records are what the standard library's are, without its import."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
import typing

import pytest

from bpflens.lean import NamedTuple, field, frozen, replace


class Point(NamedTuple):
    """A point."""

    x: int
    y: int = 2

    @property
    def sum(self) -> int:
        return self.x + self.y


@frozen
class Base:
    name: str
    tags: list[str] = field(default_factory=list)

    def loud(self) -> str:
        return self.name.upper()


@frozen
class Derived(Base):
    size: int = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Standard:
    name: str
    tags: list[str] = dataclasses.field(default_factory=list)


def test_named_tuple() -> None:
    """Fields, defaults, methods, documentation, annotations."""
    assert Point(1) == (1, 2) and Point(1).sum == 3 and Point(1)._replace(y=5) == (1, 5)
    assert Point.__doc__ == "A point." and typing.get_type_hints(Point) == {"x": int, "y": int}
    assert pickle.loads(pickle.dumps(Point(1))) == Point(1) and repr(Point(1)) == "Point(x=1, y=2)"


def test_as_a_dataclass() -> None:
    """Construction, comparison, text, copies, and what asks for the fields of a dataclass."""
    one = Base("a")
    assert one == Base("a") and one != Base("b") and one != Standard("a") and Base("a").tags is not one.tags
    assert repr(one) == repr(Standard("a")).replace("Standard", "Base")
    assert replace(one, name="b") == dataclasses.replace(one, name="b") == Base("b")
    assert pickle.loads(pickle.dumps(one)) == copy.copy(one) == copy.deepcopy(one) == one
    assert dataclasses.is_dataclass(one) and dataclasses.asdict(one) == {"name": "a", "tags": []}
    assert [item.name for item in dataclasses.fields(Derived)] == ["name", "tags", "size"]
    assert list(inspect.signature(Base).parameters) == list(inspect.signature(Standard).parameters)
    assert Derived("a", ["x"]) == Derived(name="a", tags=["x"], size=3) and Derived("a").loud() == "A"
    assert not hasattr(one, "__dict__") and Base.__match_args__ == Standard.__match_args__
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'name'"):
        Base()  # type: ignore[call-arg]


def test_cannot_be_changed() -> None:
    """Assignment and deletion are refused as a frozen dataclass refuses them; what is hashable hashes by value."""
    for record in (Base("a"), Standard("a")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            record.name = "b"  # type: ignore[misc, union-attr]
        with pytest.raises(dataclasses.FrozenInstanceError):
            del record.name
    assert hash(Derived("a", typing.cast("list[str]", ("x",)))) == hash(Derived("a", typing.cast("list[str]", ("x",))))


def test_short_commands_import_neither() -> None:
    """A listing starts without typing and dataclasses."""
    modules = "bpflens.inventory.walk, bpflens.program, bpflens.records.ls, bpflens.classic.explain"
    code = f"import sys, {modules}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"typing", "dataclasses"}.intersection(loaded)

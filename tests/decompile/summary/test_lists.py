"""Names and verbs that are put together."""

from __future__ import annotations

from bpflens.decompile.summary.words.lists import ends, folded, grouped, merged


def test_of_a_chain_of_pointers_the_last_is_said() -> None:
    read = ["pid", "real_parent of the current task", "real_parent->tgid of the current task", "mm of the file"]
    assert ends(read) == ["pid", "real_parent->tgid of the current task", "mm of the file"]
    assert ends(["a->b of the x", "a of the y"]) == ["a->b of the x", "a of the y"]


def test_what_has_one_owner_stands_together() -> None:
    read = ["setting a", "sport of the record", "time", "dport of the record", "setting b", "argument 1 of the function", "setting"]
    assert list(grouped(read)) == ["settings a and b", "sport and dport of the record", "time", "argument 1 of the function", "setting"]


def test_verbs_and_members() -> None:
    assert merged(["rewrites a", "rewrites b", "sends c", "sends d"]) == ["rewrites a and b", "sends c", "sends d"]
    assert folded(["looks up", "writes the a", "writes the b[0]", "writes the b[1].x"]) == ["looks up", "writes the a and b"]
    assert folded([f"writes the {name}" for name in "abcdef"]) == ["writes the a, b, c and 3 more"]

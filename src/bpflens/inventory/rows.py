"""A row of the inventory -> the program that hangs there, or its attachment: the values that everything passes around."""

from __future__ import annotations

from bpflens.inventory.facts.records import Inventory, InventoryRow
from bpflens.program import Attachment, Isa, Origin, Program

__all__ = ("attachment", "classic_program", "open_row")


def open_row(inventory: Inventory, row: InventoryRow) -> Program | None:
    """The program of a row, with the row as its attachment; None where the row does not know it."""
    from dataclasses import replace

    if row.classic is not None:
        return classic_program(row)
    if row.image is not None:
        return Program(
            Isa.EXTENDED, row.image, Origin("kernel", row.object, note="converted from a classic program, whose code was not kept"),
            xlated=True, attachments=(attachment(row),), holders=row.holders,
        )  # fmt: skip
    if row.prog_id is None:
        return None
    from bpflens.kernel.programs.progs import read_program

    program = read_program(row.prog_id)
    return replace(program, attachments=(*program.attachments, attachment(row)), holders=row.holders)


def classic_program(row: InventoryRow) -> Program:
    """A classic row's program; what is known of the packets that it sees is in its origin."""
    details = row.details
    given = tuple(details.get("given", ()))
    origin = Origin(
        row.kind, row.object, linktype=details.get("linktype"), given=given, note=details.get("starts_at"), arch=details.get("arch")
    )
    return Program(
        Isa.CLASSIC, row.classic or b"", origin, attachments=(attachment(row),), holders=row.holders,
        name=details.get("name") or "",
    )  # fmt: skip


def attachment(row: InventoryRow) -> Attachment:
    """The row as the value that everything passes around."""
    return Attachment(row.kind, row.object, row.netns, None, row.holders, row.details)

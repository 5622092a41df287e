"""What the stack holds after a statement."""

from __future__ import annotations

from bpflens.decompile import ir
from bpflens.decompile.summary.walk.bits import Source
from bpflens.decompile.summary.walk.sources import COMM, Filled, Scope, call_base

__all__ = ("follow_frame",)

_READ_ONLY = ("bpf_map_", "bpf_trace_", "bpf_perf_event_output", "bpf_ringbuf_output", "bpf_skb_store", "bpf_skb_output")
_FILLED = {
    "bpf_probe_read_user_str": 0, "bpf_probe_read_kernel_str": 0, "bpf_probe_read_str": 0,
    "bpf_get_current_comm": 0, "bpf_probe_read_user": 0, "bpf_probe_read_kernel": 0, "bpf_probe_read": 0, "bpf_skb_load_bytes": 2}


def follow_frame(statement: ir.Statement, scope: Scope) -> None:
    """What the stack holds after a statement."""
    frame = scope.frame
    if isinstance(statement, ir.Store) and statement.place.kind == "frame":
        if statement.place.offset is None:
            frame.forget()
        else:
            frame.store(statement.place.offset, statement.size, scope.resolved(statement.value))
    elif isinstance(statement, ir.Atomic) and statement.place.kind == "frame" and statement.place.offset is not None:
        frame.drop(statement.place.offset, statement.size)
    elif isinstance(statement, ir.Store | ir.Atomic) and statement.place.kind in ("", "frame"):
        frame.forget()  # through a pointer of which it is not known where it leads
    elif isinstance(statement, ir.Asm):
        frame.forget()
    elif isinstance(statement, ir.Call):
        for index, arg in enumerate(statement.args):
            pointer = scope.resolved(arg)
            if not isinstance(pointer, ir.StackRef) or not _may_write(statement, index):
                continue
            at = pointer.start + pointer.offset
            size = scope.constant(statement.args[index + 1]) if len(statement.args) > index + 1 else None
            if statement.name == "bpf_skb_load_bytes" and (read := scope.loaded_bytes(statement)) is not None:
                if scope.written.covers("packet", "", *read):
                    frame.forget()
                else:
                    frame.store(at, read[1], Filled(Source("packet"), read[0]))
            elif statement.name in _FILLED and size and size <= 512:
                frame.store(at, size, Filled(_filled_by(statement, scope)))
            else:
                frame.forget()


def _filled_by(call: ir.Call, scope: Scope) -> Source:
    """What is in a buffer that a helper has filled."""
    if call.name == COMM:
        return Source("buffer", COMM)
    if call.name.startswith("bpf_probe_read") and not call.name.endswith("_str") and len(call.args) > 2:
        source = scope.kernel_source(call.args[2], call_base(call))
        if source is not None:
            return source
    return Source("buffer", call.name, call_base(call))


def _may_write(call: ir.Call, index: int) -> bool:
    """A pointer to the stack that a call may write through: not the keys and values that map calls read."""
    if call.kind != "helper":
        return True
    return not call.name.startswith(_READ_ONLY)

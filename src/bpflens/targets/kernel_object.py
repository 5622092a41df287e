"""A target that names something of the running kernel -> its programs.

    id:12  name:xdp_main  tag:6deef7  pin:/sys/fs/bpf/x  map:7  link:3  fd:1234/5      (here)
    pid:  sock:  dev:  cgroup:  netns:                                                 (inventory/targets.py)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from bpflens.errors import InputError, KernelError, NotFound, NotPermitted
from bpflens.isa.extended.uapi import LinkType
from bpflens.kernel.programs.prog_info import open_prog, prog_dump, prog_ids, prog_info
from bpflens.kernel.programs.progs import read_program, read_program_fd
from bpflens.kernel.sys.capabilities import to_look_into
from bpflens.lean import replace
from bpflens.program import Attachment, Holder, Map, ProgInfo, Program
from bpflens.targets.numbers import as_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpflens.kernel.attachments.links import LinkInfo

__all__ = ("maps_named", "open_live", "programs_of_map")

_NAME_CHARS = 15  # BPF_OBJ_NAME_LEN - 1: what the kernel keeps of a name


def open_live(kind: str, name: str, jited: bool = False) -> list[Program]:
    """The programs that `KIND:NAME` names, at least one. NotFound (3), InputError (3) or NotPermitted (4) otherwise."""
    opener = _OPENERS.get(kind)
    if opener is not None:
        return opener(name, jited)
    from bpflens.targets.attach_point import open_object

    programs = open_object(kind, name)
    return [_with_machine_code(program) for program in programs] if jited else programs


def _with_machine_code(program: Program) -> Program:
    if program.id is None:
        return program
    again = read_program(program.id, jited=True)
    return replace(again, attachments=program.attachments, holders=program.holders, expected_attach_type=program.expected_attach_type)


def programs_of_map(map_id: int) -> list[int]:
    """Ids of the loaded programs that use a map, ascending."""
    users = []
    for id in prog_ids():
        try:
            with open_prog(id) as fd:
                if map_id in prog_dump(fd, f"id:{id}").map_ids:
                    users.append(id)
        except NotFound:
            continue  # unloaded meanwhile
    return users


def _id(name: str, jited: bool) -> list[Program]:
    return [read_program(_number("id", name), jited)]


def _name(name: str, jited: bool) -> list[Program]:
    """Programs of this name, with the wildcards * ? [...]; the whole name is that of the program's function, from its BTF."""
    from bpflens.inventory.objects import name_fits
    from bpflens.kernel.programs.full_name import full_name

    found = []
    for info in _infos():
        if name_fits(name, info.name, full_name(info)):
            program = _present(info.id, jited)
            if program is not None:
                found.append(program)
    if found:
        return found
    import difflib

    close = difflib.get_close_matches(name, {info.name for info in _infos() if info.name}, 3)
    raise NotFound(f"name:{name}", "no loaded program has this name", f"there is {', '.join(close)}" if close else None)


def _tag(tag: str, jited: bool) -> list[Program]:
    prefix = tag.lower().removeprefix("0x")
    if not prefix or len(prefix) > 16 or prefix.strip("0123456789abcdef"):
        raise InputError(f"tag:{tag}", "a tag is up to 16 hexadecimal digits")
    found = [program for info in _infos() if info.tag.startswith(prefix) and (program := _present(info.id, jited))]
    if not found:
        raise NotFound(f"tag:{tag}", "no loaded program has this tag")
    return found


def _pin(path: str, jited: bool) -> list[Program]:
    from bpflens.kernel.pins import opened_pin

    with opened_pin(path) as fd:
        return _object(fd, f"pin:{path}", jited)


def maps_named(name: str) -> list[Map]:
    """The map of this id, or all maps of this name (as much of it as the kernel keeps). NotFound where there is none."""
    from bpflens.kernel.maps.maps import map_ids, read_map_info

    if name.isdecimal():
        return [read_map_info(_number("map", name))]
    found = []
    for id in map_ids():
        try:
            if read_map_info(id, types=False).name == name[:_NAME_CHARS]:
                found.append(read_map_info(id))
        except NotFound:
            continue  # gone meanwhile
    if not found:
        raise NotFound(f"map:{name}", "no map has this name")
    return found


def _map(name: str, jited: bool) -> list[Program]:
    users = {user for map in maps_named(name) if map.id for user in programs_of_map(map.id)}
    return _read_all(sorted(users), f"map:{name}", jited)


def _link(name: str, jited: bool) -> list[Program]:
    from bpflens.kernel.attachments.links import link_info

    return _programs_of_link(link_info(_number("link", name)), f"link:{name}", jited)


def _fd(name: str, jited: bool) -> list[Program]:
    pid_text, slash, fd_text = name.partition("/")
    where = f"fd:{name}"
    if not slash or not fd_text.isdecimal() or not (pid_text.isdecimal() or pid_text == "self"):
        raise InputError(where, "is written fd:PID/FD")
    pid, number = os.getpid() if pid_text == "self" else as_number(pid_text), as_number(fd_text)
    if pid is None or number is None:
        raise NotFound(where, "no process or descriptor has such a number")
    try:
        link = os.readlink(f"/proc/{pid}/fd/{number}")
    except PermissionError:
        raise NotPermitted(where, f"the descriptors of process {pid} may not be read", f"needs {to_look_into([pid])}", 13) from None
    except (FileNotFoundError, ProcessLookupError, OverflowError):
        known = os.path.exists(f"/proc/{pid}")
        raise NotFound(where, f"process {pid} has no descriptor {number}" if known else f"no process {pid}") from None
    holder = Holder(pid, _comm(pid), number)
    programs = _held(pid, number, link, where, jited)
    return [replace(program, holders=(*program.holders, holder)) for program in programs]


def _held(pid: int, number: int, link: str, where: str, jited: bool) -> list[Program]:
    """The programs behind a descriptor of another process, whose /proc link reads `link`."""
    from bpflens.kernel.descriptors import duplicate
    from bpflens.kernel.pins import fd_facts

    bpf_object = link.startswith(("anon_inode:bpf-", "anon_inode:bpf_"))
    if not bpf_object and not link.startswith("socket:") and "perf_event" not in link:
        raise InputError(where, f"is {link}, not a BPF object or a socket")
    if "perf_event" in link:
        return _perf_event(pid, number, where, jited)
    try:
        fd = duplicate(pid, number)
    except OSError as error:
        if not bpf_object:
            hint = f"needs {to_look_into([pid])}"
            raise KernelError.from_errno(where, "cannot duplicate the descriptor", error.errno or 0, hint) from None
        try:
            with open(f"/proc/{pid}/fdinfo/{number}", "rb") as stream:
                facts = fd_facts(stream.read())
        except OSError as second:
            raise KernelError.from_errno(where, "cannot read fdinfo", second.errno or 0, f"needs {to_look_into([pid])}") from None
        for mark, key, opener in (("bpf-prog", "prog_id", _id), ("bpf-map", "map_id", _map), ("link", "link_id", _link)):
            if mark in link and key in facts:
                return opener(facts[key], jited)
        raise InputError(where, f"is {link}, which leads to no program") from None
    try:
        return _object(fd, where, jited) if bpf_object else [_socket(fd, pid, number, where)]
    finally:
        os.close(fd)


def _object(fd: int, where: str, jited: bool) -> list[Program]:
    """The programs of a BPF descriptor of this process: a program itself, a map's users, a link's program."""
    from bpflens.kernel.attachments.links import link_by_fd
    from bpflens.kernel.maps.maps import map_by_fd
    from bpflens.kernel.pins import fd_kind

    kind = fd_kind(fd)
    if kind == "prog":
        return [read_program_fd(fd, where, jited)]
    if kind == "map":
        return _users(map_by_fd(fd, where, types=False).id or 0, where, jited)
    if kind == "link":
        return _programs_of_link(link_by_fd(fd, where), where, jited)
    raise InputError(where, f"is {kind}, which has no program")


def _users(map_id: int, where: str, jited: bool) -> list[Program]:
    return _read_all(programs_of_map(map_id), where, jited)


def _read_all(ids: list[int], where: str, jited: bool) -> list[Program]:
    programs = [program for id in ids if (program := _present(id, jited))]
    if not programs:
        hint = f'"bpflens show {where}" shows the map itself' if where.startswith("map:") else None
        raise NotFound(where, "no loaded program uses it", hint)
    return programs


def _programs_of_link(link: LinkInfo, where: str, jited: bool) -> list[Program]:
    from bpflens.kernel.attachments.link_attachment import link_attachment

    attachment = link_attachment(link)
    if link.prog_id:
        return [_with_attachment(read_program(link.prog_id, jited), attachment, link.attach_type)]
    if link.type == LinkType.STRUCT_OPS and link.facts.get("map_id"):
        from bpflens.kernel.maps.struct_ops import struct_ops

        ids = struct_ops(link.facts["map_id"]).programs
        return [_with_attachment(read_program(id, jited), attachment, member) for member, id in ids.values()]
    raise NotFound(where, "the link has no program")


def _with_attachment(program: Program, attachment: Attachment, attach_type: int | None) -> Program:
    return replace(program, attachments=(*program.attachments, attachment), expected_attach_type=attach_type)


def _perf_event(pid: int, number: int, where: str, jited: bool) -> list[Program]:
    """BPF_TASK_FD_QUERY (v4.18): the program behind a tracepoint, kprobe or uprobe event."""
    from bpflens.kernel.attachments.perf_events import program_of_fd

    try:
        found = program_of_fd(pid, number)
    except OSError as error:
        raise KernelError.from_errno(where, "cannot ask for the program of a perf event", error.errno or 0) from None
    return [read_program(found.prog_id, jited)]


def _socket(fd: int, pid: int, number: int, where: str) -> Program:
    from bpflens.inventory.facts.records import InventoryRow
    from bpflens.inventory.finders.network.sockets import filter_context
    from bpflens.inventory.rows import classic_program
    from bpflens.kernel.network.sockets import socket_facts
    from bpflens.targets.attach_point import open_object

    inode = os.fstat(fd).st_ino
    try:
        facts = socket_facts(fd, inode, pid, number)
    except OSError as error:
        raise KernelError.from_errno(where, "cannot read the filter of the socket", error.errno or 0) from None
    if facts.filter is None:
        try:
            return open_object("sock", str(inode))[0]  # kernel memory tells which
        except KernelError:
            pass
        reason = "the socket has an extended program, which the kernel does not name through the socket"
        raise NotPermitted(where, reason, "kernel memory tells it, which needs CAP_BPF and CAP_PERFMON", 13)
    if not facts.filter:
        raise NotFound(where, "the socket has no filter")
    if facts.kind == "packet":  # its device and protocol, which say what the filter sees, are known to packet_diag
        try:
            return open_object("sock", str(inode))[0]
        except KernelError:
            pass
    context = filter_context(facts.kind, facts.protocol)
    row = InventoryRow(f"socket/{facts.kind}", f"sock:{inode}", facts.netns or None, classic=facts.filter, details=context)
    return classic_program(row)


def _infos() -> Iterator[ProgInfo]:
    for id in prog_ids():
        try:
            yield prog_info(id)
        except NotFound:
            continue  # unloaded meanwhile


def _present(id: int, jited: bool) -> Program | None:
    try:
        return read_program(id, jited)
    except NotFound:
        return None


def _number(kind: str, text: str) -> int:
    number = as_number(text)
    if not number:
        raise InputError(f"{kind}:{text}", "an id is a number from 1 to 4294967295")
    return number


def _comm(pid: int) -> str:
    from bpflens.kernel.sys.procfs import comm

    return comm(pid)


_OPENERS: dict[str, Callable[[str, bool], list[Program]]] = {
    "id": _id,
    "name": _name,
    "tag": _tag,
    "pin": _pin,
    "map": _map,
    "link": _link,
    "fd": _fd,
}

"""The places of a plan as they are now: paths of pins, devices, cgroups, namespaces. They are only looked at, nothing is changed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from bpflens.errors import BpflensError, KernelError, NotPermitted, UsageError
from bpflens.formats.snapshot.manifest import Manifest, SavedAttachment, SavedMap
from bpflens.isa.extended.uapi import LinkType as LINK
from bpflens.isa.extended.uapi import MapType
from bpflens.kernel import pins
from bpflens.kernel.descriptors import close, device_index
from bpflens.snapshot.restoring.attach import occupied, occupied_hook, place
from bpflens.snapshot.restoring.maps import open_pinned
from bpflens.snapshot.restoring.namespaces import in_namespace, namespace_path
from bpflens.snapshot.restoring.options import RestoreOptions, pin_path
from bpflens.snapshot.restoring.rules import data_is_written, missing_capabilities
from bpflens.snapshot.restoring.steps import Conflict, LeftOut, Plan, Step

__all__ = ("check_names", "look", "same_pin")

_DEVICE_LINKS = frozenset({LINK.XDP, LINK.TCX, LINK.NETKIT})
_ON_DEVICES = ("xdp/", "tc/", "tcx/", "netkit/")
_DEVMAPS = frozenset({MapType.DEVMAP, MapType.DEVMAP_HASH})
_OF_CGROUPS = frozenset({MapType.CGROUP_ARRAY, MapType.CGRP_STORAGE})
_SHOWN = 8  # names in an error


def check_names(manifest: Manifest, options: RestoreOptions) -> None:
    """UsageError where an option gives another name to something that the snapshot does not have."""
    devices = {item.device for item in manifest.attachments}
    cgroups = {item.cgroup for item in manifest.attachments}
    spaces = {(item.netns_name, item.netns) for item in manifest.attachments if item.netns is not None}
    for map in manifest.maps:
        if map.data is None:
            continue
        if map.type in _DEVMAPS:
            devices |= set(map.data.devices.values())
            spaces |= {(map.data.netns_name, map.data.netns)} if map.data.netns is not None else set()
        elif map.type in _OF_CGROUPS:
            cgroups |= set(map.data.devices.values())
    names = {name or str(inode) for name, inode in spaces}
    _known("--dev", "network device", options.devices, devices)
    _known("--cgroup", "cgroup", options.cgroups, cgroups)
    _known("--netns", "network namespace", options.netns, names, {str(inode) for _, inode in spaces})


def _known(option: str, word: str, given: Mapping[str, str], saved: set[str | None] | set[str], also: set[str] | None = None) -> None:
    names = sorted(name for name in saved if name)
    for old in given:
        if old in names or old in (also or ()):
            continue
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        hint = f"it has {', '.join(names[:_SHOWN])}{more}" if names else f"it has no {word} at all"
        raise UsageError(option, f'the snapshot has no {word} "{old}"', hint)


def look(plan: Plan, manifest: Manifest, options: RestoreOptions) -> Plan:
    """The plan with what was found at its places."""
    eyes = _Eyes(plan, manifest, options)
    eyes.pins()
    eyes.reused()
    eyes.attachments()
    eyes.devmaps()
    types = {program.type for program in manifest.programs if program.id in plan.programs}
    needs = missing_capabilities(types, objects=bool(plan.programs or plan.maps), namespaces=eyes.elsewhere)
    return replace(
        plan, conflicts=tuple(eyes.conflicts), replaced=tuple(eyes.replaced), impossible=tuple(dict.fromkeys(eyes.impossible)),
        unseen=tuple(dict.fromkeys(eyes.unseen)), needs=needs + tuple(dict.fromkeys(eyes.needs)),
    )  # fmt: skip


class _Eyes:
    def __init__(self, plan: Plan, manifest: Manifest, options: RestoreOptions) -> None:
        self.plan, self.manifest, self.options = plan, manifest, options
        self.maps = {map.id: map for map in manifest.maps}
        self.conflicts: list[Conflict] = []
        self.replaced: list[Conflict] = []
        self.impossible: list[LeftOut] = []
        self.unseen: list[str] = []
        self.needs: list[tuple[str, str]] = []
        self.elsewhere = False
        self._bpffs: dict[str, bool] = {}

    def _cannot(self, object: str, error: BpflensError) -> None:
        text = error.reason if error.object in ("", object) else str(error)
        self.impossible.append(LeftOut(object, f"{text} ({error.hint})" if error.hint else text))

    # --- pins ---

    def pins(self) -> None:
        """What is at the paths, and whether they can be made."""
        for step in self.plan.steps:
            if step.action != "pin":
                continue
            try:
                there = os.lstat(step.path)
            except (FileNotFoundError, NotADirectoryError):
                self._directory(step.path)
            except OSError as error:
                self._hidden(step.path, error)
            else:
                self._occupied(step, (there.st_mode & 0o170000) == 0o040000)

    def _occupied(self, step: Step, directory: bool) -> None:
        if directory:
            self._cannot(f"pin:{step.path}", KernelError("", "is a directory", "--pin-prefix DIR pins elsewhere"))
            return
        try:
            found = pins.pinned_object(step.path)
        except OSError:
            found = None
        there = {"prog": "program", "map": "map", "link": "link"}[found[0]] + f" {found[1]}" if found else ""
        usable = step.kind == "map" and there.startswith("map ") and step.path in self._own_paths(step.id)
        reuse = ("--reuse-maps",) if usable and not self.options.reuse_maps else ()
        helps = (*reuse, "--replace", "--pin-prefix")
        (self.replaced if self.options.replace else self.conflicts).append(Conflict(step.path, there, helps))

    def _own_paths(self, id: int) -> Iterator[str]:
        return (pin_path(pin.path, self.options) for pin in self.maps[id].pins)

    def _directory(self, path: str) -> None:
        """Whether the directory is there or can be made: on a BPF filesystem, by this process."""
        above = _deepest(os.path.dirname(path))
        prefix = self.options.pin_prefix
        below = prefix if prefix and not os.path.isdir(prefix) else above
        elsewhere = "--pin-prefix DIR pins elsewhere"
        if not os.path.isdir(above):
            self._cannot(f"pin:{above}", KernelError("", "is not a directory", elsewhere))
        elif not self._on_bpffs(above):
            self._cannot(f"pin:{below}", KernelError("", "is not on a BPF filesystem", elsewhere))
        elif not os.access(above, os.W_OK | os.X_OK, effective_ids=True):
            self.needs.append(("CAP_DAC_OVERRIDE", f"to write into {above}"))

    def _on_bpffs(self, directory: str) -> bool:
        if directory not in self._bpffs:
            self._bpffs[directory] = pins.on_bpffs(directory)
        return self._bpffs[directory]

    def _hidden(self, path: str, error: OSError) -> None:
        above = _deepest(os.path.dirname(path))
        if error.errno == errno.EPERM and os.access(above, os.X_OK, effective_ids=True):  # bpf_lookup, kernel/bpf/inode.c
            self._cannot(f"pin:{path}", KernelError("", "a BPF filesystem reserves names with a dot", "--pin-prefix DIR pins elsewhere"))
            return
        self.unseen.append(f"{above}: {error.strerror}; whether pins are in the way there is not known")
        if error.errno == errno.EACCES:
            self.needs.append(("CAP_DAC_OVERRIDE", f"to write into {above}"))

    def reused(self) -> None:
        """Whether the maps that are to be used have the shape of the saved ones."""
        for id, path in self.plan.reused:
            map = self.maps[id]
            try:
                close(open_pinned(map, path))
            except NotPermitted as error:
                self.unseen.append(str(error))
            except BpflensError as error:
                self._cannot(_name(map), error)

    # --- attachments and elements ---

    def attachments(self) -> None:
        """Devices, cgroups and namespaces."""
        for index in self.plan.attachments:
            item = self.manifest.attachments[index]
            at = f"{item.kind} at {place(self.options, item)}"
            self._try(at, item.netns, item.netns_name, item.own_netns, partial(self._check, item, at))

    def _check(self, item: SavedAttachment, where: str) -> None:
        """In the namespace of an attachment: KernelError where its object is not there."""
        if item.link_type in _DEVICE_LINKS or (item.link is None and item.kind.startswith(_ON_DEVICES)):
            if item.device is None:
                return
            there = occupied(device_index(self.options.devices.get(item.device, item.device), where), item)
            if there and not self.options.replace:
                self.conflicts.append(Conflict(where, there, ("--replace", "--no-attach")))
            elif there:
                self.replaced.append(Conflict(where, there, ()))
        elif item.link_type == LINK.CGROUP or (item.link is None and item.kind.startswith(("cgroup/", "flow_dissector"))):
            there, helps = occupied_hook(self.options, item, where)
            if there and not (self.options.replace and "--replace" in helps):
                self.conflicts.append(Conflict(where, there, helps))
            elif there:
                self.replaced.append(Conflict(where, there, ()))

    def devmaps(self) -> None:
        """The devices of elements."""
        for id in self.plan.maps:
            map = self.maps[id]
            data = map.data
            if map.type not in _DEVMAPS or data is None or not data.entries or not data_is_written(map) or id in dict(self.plan.reused):
                continue
            for name in dict.fromkeys(data.devices.values()):
                new, where = self.options.devices.get(name, name), _name(map)
                self._try(where, data.netns, data.netns_name, data.netns is None, partial(_device, new, where))

    def _try(self, object: str, inode: int | None, name: str | None, own: bool, check: Callable[[], None]) -> None:
        path = None
        try:
            path = namespace_path(self.options, inode, name, own)
            self.elsewhere |= path is not None
            in_namespace(path, check)
        except BpflensError as error:
            self._cannot(object, error)
        except OSError as error:
            self.unseen.append(f"{f'network namespace {path}' if path else object}: {error.strerror}; what is there is not known")


def _deepest(directory: str) -> str:
    """As much of a directory's path as is there, looked for from the top."""
    found = "/"
    for part in directory.split("/"):
        below = os.path.join(found, part)
        if not os.path.lexists(below):
            break
        found = below
    return found.rstrip("/") or "/"


def _device(name: str, where: str) -> None:
    device_index(name, where)


def _name(map: SavedMap) -> str:
    return f"map {map.id} {map.name}".rstrip()


def same_pin(path: str, other: str) -> bool:
    """Whether one and the same object is pinned at both paths."""
    try:
        found = pins.pinned_object(path)
        return found is not None and found == pins.pinned_object(other)
    except OSError:
        return False

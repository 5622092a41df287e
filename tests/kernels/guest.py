"""A guest that runs a command under another kernel: QEMU without KVM, this machine's files read-only at the same paths.

An initramfs of busybox and the modules that the tests want mounts the host's tree by virtiofs (or 9p), puts fresh file systems on /tmp and
/run, and runs the command there as root. Its output comes over the second serial port, its status in a line of the console.
"""

from __future__ import annotations

import gzip
import lzma
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

__all__ = ("Kernel", "boot")

MODULES = (
    "crc32c_generic", "veth", "tun", "dummy", "af_packet_diag", "sch_ingress", "sch_htb", "cls_bpf", "cls_u32", "act_bpf", "act_gact",
    "ip_tables", "iptable_filter", "ip6_tables", "ip6table_filter", "x_tables", "xt_bpf", "nf_tables", "nft_compat", "nfnetlink", "team",
    "team_mode_loadbalance", "ppp_generic", "kcm", "vsock", "vmw_vsock_virtio_transport", "netkit", "nfnetlink_hook",
)  # fmt: skip
VIRTIOFSD = "/usr/lib/qemu/virtiofsd"

INIT = r"""#!/busybox sh
B=/busybox
$B mkdir -p /proc /sys /dev /host
$B mount -t devtmpfs d /dev; $B mount -t proc p /proc; $B mount -t sysfs s /sys
for m in $($B cat /modules); do $B insmod /m/$m.ko || echo "insmod $m failed"; done
end() { echo "bpflens-guest: status $1" >/dev/ttyS0; $B sync; $B poweroff -f; }
$B mount -t @FS@ -o @OPTIONS@ root /host || end 125
for d in proc sys dev; do $B mount --move /$d /host/$d; done
for d in tmp run; do $B mount -t tmpfs t /host/$d; done
$B mkdir -p /host/dev/pts /host/dev/shm; $B mount -t devpts p /host/dev/pts; $B mount -t tmpfs t /host/dev/shm
$B mount -t securityfs s /host/sys/kernel/security
$B mount -t bpf b /host/sys/fs/bpf; $B mount -t cgroup2 c /host/sys/fs/cgroup
$B mount -t debugfs d /host/sys/kernel/debug; $B mount -t tracefs t /host/sys/kernel/tracing
$B ip link set lo up
$B cp /command /host/run/command
end() { echo "bpflens-guest: status $1" >/host/dev/ttyS0; $B poweroff -f; }
$B chroot /host /bin/sh /run/command </host/dev/null >/host/dev/ttyS1 2>&1
end $?
"""


class Kernel:
    """An unpacked kernel package: its image and its modules."""

    def __init__(self, directory: Path) -> None:
        self.release = directory.name.removeprefix("linux-image-")
        self.image = next(path for path in directory.rglob("vmlinuz*") if path.is_file() and not path.is_symlink())
        modules = next((path for path in directory.rglob("modules/*") if path.is_dir()), directory / "none")
        self.paths = {re.sub(r"\.ko(\.\w+)?$", "", path.name).replace("-", "_"): path for path in modules.rglob("*.ko*")}
        builtin = modules / "modules.builtin"
        self.builtin = {Path(line).stem.replace("-", "_") for line in builtin.read_text().split()} if builtin.exists() else None

    def has(self, module: str) -> bool:
        """Whether the guest can have a module. Where the archive dropped the modules of a kernel, what it needs to boot is built in."""
        return module in self.paths or self.builtin is None or module in self.builtin

    def read(self, name: str) -> bytes:
        path = self.paths[name]
        if path.suffix == ".zst":
            return subprocess.run(["zstd", "-dcq", path], capture_output=True, check=True).stdout
        return (lzma.open if path.suffix == ".xz" else gzip.open if path.suffix == ".gz" else open)(path, "rb").read()

    def with_dependencies(self, wanted: tuple[str, ...]) -> dict[str, bytes]:
        """Modules by name, dependencies first; those that this kernel lacks or has built in are left out."""
        ordered: dict[str, bytes] = {}

        def add(name: str) -> None:
            name = name.replace("-", "_")
            if name in ordered or name not in self.paths:
                return
            data = self.read(name)
            needed = re.search(rb"\0depends=([^\0]*)\0", data)
            for other in needed[1].decode().split(",") if needed and needed[1] else ():
                add(other)
            ordered[name] = data

        for name in wanted:
            add(name)
        return ordered


def newc(entries: list[tuple[str, int, bytes]]) -> bytes:
    """A cpio archive in the "newc" format of (name, mode, content)."""
    out = bytearray()
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        raw = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + raw
        out += head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
    return bytes(out)


def initramfs(kernel: Kernel, filesystem: str, options: str, command: str) -> bytes:
    """busybox, the modules in order of insertion, and a command for a shell in the host's tree."""
    transport = ("virtio_pci", "virtiofs") if filesystem == "virtiofs" else ("virtio_pci", "9pnet_virtio", "9p")
    modules = kernel.with_dependencies((*transport, *MODULES))
    busybox = shutil.which("busybox") or sys.exit("needs busybox-static")
    executable = stat.S_IFREG | 0o755
    init = INIT.replace("@FS@", filesystem).replace("@OPTIONS@", options)
    entries = [
        ("busybox", executable, Path(busybox).read_bytes()), ("init", executable, init.encode()), ("command", executable, command.encode()),
        ("m", stat.S_IFDIR | 0o755, b""), ("modules", executable, "\n".join(modules).encode()),
    ]  # fmt: skip
    return newc(entries + [(f"m/{name}.ko", executable, data) for name, data in modules.items()])


def boot(kernel: Kernel, command: str, seconds: float, append: str) -> tuple[int, str]:
    """Run a command in the guest, its output on ours too: its exit status (125 where the guest did not come to an end), what it said."""
    virtiofs = os.path.exists(VIRTIOFSD) and kernel.has("virtiofs")
    filesystem, options = ("virtiofs", "ro") if virtiofs else ("9p", "ro,trans=virtio,version=9p2000.L,msize=512000,cache=mmap")
    with tempfile.TemporaryDirectory(prefix="bpflens-kernel-") as work:
        Path(work, "initrd").write_bytes(initramfs(kernel, filesystem, options, command))
        Path(work, "output").touch()
        daemon = _file_server(work) if virtiofs else None
        guest = subprocess.Popen(_qemu(kernel, work, virtiofs, append), stdin=subprocess.DEVNULL)
        try:
            said = _followed(guest, Path(work, "output"), seconds)
        finally:
            for child in (guest, daemon):
                if child is not None:
                    child.kill()
                    child.wait()
        console = Path(work, "console").read_text(errors="replace")
    status = re.findall(r"^bpflens-guest: status (\d+)", console, re.M)
    if not status or os.environ.get("BPFLENS_CONSOLE"):
        print(console[-4000:], file=sys.stderr)
    return int(status[-1]) if status else 125, said


def _qemu(kernel: Kernel, work: str, virtiofs: bool, append: str) -> list[str]:
    """The machine: console and output of the command go to files, the host's tree comes by virtiofs or 9p.

    Its CPUs take turns in one thread: in threads of their own one of them ran half of an instruction that another was patching (6.12.117,
    __schedule, a jump of a static key), and the guest died.
    """
    machine = [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-m", "2G", "-smp", "2",
        "-kernel", str(kernel.image), "-initrd", f"{work}/initrd",
        "-append", "console=ttyS0 panic=-1 loglevel=4 mitigations=off random.trust_cpu=on audit=0 selinux=0 apparmor=0 " + append,
        "-serial", f"file:{work}/console", "-serial", f"file:{work}/output", "-device", "virtio-rng-pci", "-accel", "tcg,thread=single",
        "-cpu", "max",
    ]  # fmt: skip
    if virtiofs:
        machine += ["-object", "memory-backend-memfd,id=mem,size=2G,share=on", "-machine", "q35,memory-backend=mem"]
        return [*machine, "-chardev", f"socket,id=root,path={work}/socket", "-device", "vhost-user-fs-pci,chardev=root,tag=root"]
    return [*machine, "-machine", "q35", "-virtfs", "local,path=/,mount_tag=root,security_model=none,multidevs=remap,readonly=on"]


def _file_server(work: str) -> subprocess.Popen[bytes]:
    """virtiofsd over the host's tree, once its socket is there."""
    share = ["-o", "source=/", "-o", "xattr", "-o", "cache=auto", "-o", "sandbox=chroot", "-f"]
    command = [VIRTIOFSD, f"--socket-path={work}/socket", *share]
    daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(500):
        if os.path.exists(f"{work}/socket"):
            break
        time.sleep(0.01)
    return daemon


def _followed(guest: subprocess.Popen[bytes], output: Path, seconds: float) -> str:
    """What the command says, printed as it comes, until the guest ends or its time is over."""
    deadline = time.monotonic() + seconds
    said = b""
    with output.open("rb") as stream:
        while True:
            running = guest.poll() is None
            while piece := stream.read():
                said += piece
                sys.stdout.buffer.write(piece.replace(b"\r", b""))
                sys.stdout.flush()
            if not running:
                break
            if time.monotonic() > deadline:
                print(f"no end after {seconds:.0f} s", file=sys.stderr)
                break
            time.sleep(0.2)
    return said.decode(errors="replace").replace("\r", "")

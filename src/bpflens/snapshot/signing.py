"""Signatures by the system's own signer: ssh-keygen -Y sign and verify (OpenSSH 8.1), namespace "bpflens-snapshot"."""

from __future__ import annotations

import os
import subprocess

from bpflens.errors import InputError, NotSupported

__all__ = ("check_signature", "sign")

NAMESPACE = "bpflens-snapshot"
_SECONDS = 120


def sign(path: str, key: str) -> str:
    """Sign the file with a key of ssh (a private key, or a public one whose private half the agent has); the signature's path."""
    signature = f"{path}.sig"
    if os.path.lexists(signature):
        os.unlink(signature)  # ssh-keygen asks otherwise
    _run(["-Y", "sign", "-n", NAMESPACE, "-f", key, path], path, "cannot be signed")
    if not os.path.exists(signature):
        raise InputError(path, "cannot be signed: ssh-keygen made no signature")
    return signature


def check_signature(path: str, signers: str, identity: str) -> None:
    """InputError where `path`.sig is not the identity's signature of the file, by the keys of the file `signers`."""
    signature = f"{path}.sig"
    try:
        arguments = ["-Y", "verify", "-n", NAMESPACE, "-f", signers, "-I", identity, "-s", signature]
        with open(path, "rb") as stream:
            _run(arguments, path, "the signature is not good", stream.fileno())
    except OSError as error:
        raise InputError(path, error.strerror or str(error)) from None


def _run(arguments: list[str], path: str, what: str, stdin: int | None = None) -> None:
    try:
        source = subprocess.DEVNULL if stdin is None else stdin
        done = subprocess.run(["ssh-keygen", *arguments], stdin=source, capture_output=True, text=True, timeout=_SECONDS)
    except FileNotFoundError:
        raise NotSupported("ssh-keygen", "is not installed", "apt install openssh-client") from None
    except subprocess.TimeoutExpired:
        raise InputError(path, f"{what}: ssh-keygen does not answer") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise InputError(path, f"{what}: {said[-1] if said else f'ssh-keygen ended with {done.returncode}'}")

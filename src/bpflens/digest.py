"""SHA-256 and SHA-1 without OpenSSL: `hashlib` loads it, which takes longer than all that a listing imports."""

from __future__ import annotations

__all__ = ("sha1", "sha256")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import sha1, sha256
else:
    try:
        from _sha1 import sha1

        try:
            from _sha2 import sha256  # Python 3.12
        except ImportError:
            from _sha256 import sha256
    except ImportError:  # built without them
        from hashlib import sha1, sha256

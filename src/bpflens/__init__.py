"""bpflens: objdump for BPF, and further."""

from __future__ import annotations

__version__ = "0.1.0"

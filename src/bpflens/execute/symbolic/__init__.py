"""Proof that two extended programs are equal for all inputs. See equal.py, and docs/proofs.md for what a proof rests on."""

from bpflens.execute.symbolic.equal import prove_equal
from bpflens.execute.symbolic.result import Difference, Equality, Grade

__all__ = ("Difference", "Equality", "Grade", "prove_equal")

"""Extended code run in Python: every instruction, bounded memory, the common maps and helpers; what is modelled is said."""

"""From text to a program, and back."""

import bpflens

program = bpflens.asm("r0 = 1\nexit")
print(program.code.hex(), bpflens.dis(program), sep="\n")
assert program.code.hex() == "b7000000010000009500000000000000"

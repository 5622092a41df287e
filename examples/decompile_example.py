"""C of a program, here of one that was just assembled."""

import bpflens

made = bpflens.decompile(bpflens.asm("if r1 == 0x0 goto pc+1\nr1 = 7\nr0 = r1\nexit"))
print(made.text())
assert "return" in made.text()

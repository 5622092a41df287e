"""What an instruction is: classic (isa.classic) and extended (isa.extended) BPF, as tables; everything else derives from them."""

"""Every BPF program of the machine and what it hangs on: one file per family of attachment, `families` is their table.

    collect(Selection()) -> Inventory: rows (Found), what was not permitted, the loaded programs

Reading changes nothing: namespaces are entered in a thread of its own that ends with the walk, every descriptor is closed.
"""

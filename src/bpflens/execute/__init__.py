"""Extended code run: by the kernel's test runs and by an interpreter, on chosen inputs, to compare two programs."""

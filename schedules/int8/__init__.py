"""Integer kernels: written out loop by loop, for the dot products that a CPU has."""

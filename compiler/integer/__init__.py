"""Quantised regions computed in integers: which ones, and their kernels in place of TVM's."""

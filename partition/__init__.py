"""Placement: which region runs on which engine, in which stage, and how good that decision is.

Nothing here imports TVM or reads a model: the input is a cost table, the output a plan.
"""

"""Arm Ethos-U NPUs: int8 TFLite of our own, compiled and estimated by Arm's Vela.

The backend itself is ``edgeweave.targets.npu_ethos_u.backend:BACKEND``. Nothing is imported here,
so that the process in which Vela runs starts quickly.
"""

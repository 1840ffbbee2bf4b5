"""The part of edgeweave that goes to the device: reads a bundle and runs it as a pipeline.

It imports nothing else of edgeweave.
"""

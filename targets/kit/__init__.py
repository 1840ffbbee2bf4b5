"""The folder that makes a board a device: its program and TVM's runtime, and its emulation here."""

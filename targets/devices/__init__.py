"""The client side of devices: how they are found, reached, sent to and run on."""

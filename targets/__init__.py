"""What edgeweave can compile for: boards, their engines, and the backends that drive them."""

"""How to break things: one small file a fault, each with its undo."""

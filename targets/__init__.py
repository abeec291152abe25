"""What gets broken: targets, their nodes and edges, and the ways to bring them up and down."""

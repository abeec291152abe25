"""Toxiproxy, the network between the nodes: finding or building its server, and talking to it."""

"""Scenarios from the files of other tools: what can be taken over, and a line for each thing that cannot."""

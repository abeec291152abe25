"""The command line and the run: plan, run, watch, undo, judge, render."""

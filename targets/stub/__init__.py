"""A small service with a known truth: what it does under load and faults follows from its numbers in closed form."""

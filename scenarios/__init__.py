"""What to do: the scenario model, its loader, the plan and the pacing of arrivals."""

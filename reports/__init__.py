"""How it held up: reads a run directory and judges it; needs no Docker, Locust or Toxiproxy."""

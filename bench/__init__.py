"""What `make bench` runs: a load tool, two marks, nginx and the gateway, compared in one table."""

"""The public test harness."""

"""What to do: which question next, which strategy, which numbers, and why."""

"""What a plan will cost: memory, time, disk. Arithmetic only."""

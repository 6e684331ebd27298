"""What can be done: the contract of a skill, its loader, the registry."""

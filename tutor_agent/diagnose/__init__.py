"""What went wrong: readers, fault cards, ranking, live watch and repair."""

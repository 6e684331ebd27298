"""The words all layers share. Pure values; the only work done here is reading and writing them."""

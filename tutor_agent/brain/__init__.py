"""Talking: two brains over one set of tools.

`builtin` decides offline, as a pure function of the conversation; `engine` runs that function, or a language
model with the built-in brain behind it, in one agent loop. `conversation` is the seam a face talks to.
"""

"""What the tutor does about each intent, as pure functions of the scene."""

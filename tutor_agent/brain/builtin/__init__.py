"""The offline brain: a pure function from the conversation to words and tool calls."""

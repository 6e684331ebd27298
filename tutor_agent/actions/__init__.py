"""What the tutor can do, one verb a file: typed request in, typed result out.

The command line, the app, both brains and the MCP server are faces over these; none does the work itself.
"""

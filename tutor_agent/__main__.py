"""`python -m tutor_agent` is the `tutor` command."""

from tutor_agent.cli import main

if __name__ == "__main__":
    main()

"""Starts Watchroom: `python run.py` serves, `python run.py --help` shows what else there is."""

from dashboard.cli import main

if __name__ == "__main__":
    main()

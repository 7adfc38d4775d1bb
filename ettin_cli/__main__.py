"""Run `python -m ettin_cli` as `ettin`."""

from ettin_cli.cli import main

if __name__ == "__main__":
    main()

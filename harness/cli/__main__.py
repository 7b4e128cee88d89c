"""`python -m harness.cli` is `bench`."""

from harness.cli import main

if __name__ == "__main__":
    main()

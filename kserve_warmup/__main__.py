"""``python -m kserve_warmup``."""

from kserve_warmup.cli import main

if __name__ == "__main__":
    main()

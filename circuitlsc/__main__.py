"""``python -m circuitlsc`` is ``circuitlsc``."""

from circuitlsc.cli import main

if __name__ == "__main__":
    main()

"""``python -m circuitlsc`` is ``circuitlsc``."""

from circuitlsc.cli.main import main

if __name__ == "__main__":
    main()

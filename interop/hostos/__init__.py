"""Where Windows programs run: one contract (contract.py), one module for each kind of host."""

"""`python -m tests.fuzz.fuzz_signatures SECONDS`: search for what breaks the signature verifier."""

from tests.fuzz.harness import main

if __name__ == "__main__":
    main("signatures")

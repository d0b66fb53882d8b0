"""`python -m tests.fuzz.fuzz_tokens SECONDS`: search for what breaks the token reader."""

from tests.fuzz.harness import main

if __name__ == "__main__":
    main("tokens")

"""`python -m tests.fuzz.fuzz_requests SECONDS`: search for bytes that read in more than one way."""

from tests.fuzz.harness import main

if __name__ == "__main__":
    main("http_requests")

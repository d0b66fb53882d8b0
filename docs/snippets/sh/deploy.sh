# The commands of docs/guides/deploy.md. tests/docs/test_deploy.py holds them to the Dockerfile.

# region: docker
docker build -t relay .
docker run --read-only --tmpfs /tmp -v relay-data:/data -p 127.0.0.1:8080:8080 --env-file .env relay
# endregion


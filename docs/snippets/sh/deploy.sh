# The commands of docs/guides/deploy.md. tests/docs/test_deploy.py holds them to the Dockerfile.

# region: docker
docker build -t relay .
docker run --read-only --tmpfs /tmp -v relay-data:/data -p 127.0.0.1:8080:8080 --env-file .env relay
# endregion


# region: compose
docker compose --env-file .env -f deploy/compose.yaml up --detach --wait
# endregion

# region: kubernetes
kubectl create secret generic relay --from-env-file=.env
kubectl apply --kustomize deploy/kubernetes/sqlite
# endregion

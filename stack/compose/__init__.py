"""What runs inside the containers of docker-compose.yaml beside the services themselves."""

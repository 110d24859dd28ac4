"""The engine `cosmos3-diffusers`: NVIDIA Cosmos 3 in the job's own process, through diffusers, without a server."""

"""The engine `cosmos-transfer2.5`: NVIDIA's own repository."""

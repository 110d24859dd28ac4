"""The engine `cosmos3`: NVIDIA Cosmos 3, made by servers that keep the model loaded."""

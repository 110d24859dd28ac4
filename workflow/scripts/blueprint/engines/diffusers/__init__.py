"""The engine `diffusers`: Cosmos-Transfer2.5 through `Cosmos2_5_TransferPipeline`."""

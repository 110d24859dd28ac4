"""Cosmos 3 in miniature: the real classes with tiny random weights, saved as the hub's folder is."""

from __future__ import annotations

import json
from pathlib import Path

import torch

import tiny_cosmos
from blueprint import torchvision_ops

torchvision_ops.make_importable()
from diffusers import (  # noqa: E402
    AutoencoderKLWan,
    Cosmos3OmniModularPipeline,
    Cosmos3OmniTransformer,
    UniPCMultistepScheduler,
)

TEMPLATE = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
INDEX = "modular_model_index.json"
GAIN = 3.0


def write(folder: Path, seed: int = 0) -> None:
    """Save a tiny pipeline, whose index names the parts of another repository, as NVIDIA's may."""
    torch.manual_seed(seed)
    tokenizer = tiny_cosmos.tokenizer()
    tokenizer.chat_template = TEMPLATE
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|vision_start|>"]})
    pipe = Cosmos3OmniModularPipeline()
    pipe.update_components(
        transformer=Cosmos3OmniTransformer(
            **{"head_dim": 8, "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2},
            **{"num_key_value_heads": 1, "num_hidden_layers": 2, "latent_channel": 16, "patch_latent_dim": 64},
            **{"vocab_size": 300, "rope_scaling": {"mrope_section": [2, 1, 1]}},
        ),
        vae=AutoencoderKLWan(
            base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
        ),
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, use_karras_sigmas=True, flow_shift=1.0
        ),
        text_tokenizer=tokenizer,
    )
    with torch.no_grad():  # random weights as they are made let a control change less than eight bits show
        for model in (pipe.transformer, pipe.vae.encoder):
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter *= GAIN
    pipe.save_pretrained(str(folder), overwrite_modular_index=True)
    index = json.loads((folder / INDEX).read_text())
    for part in index.values():
        if isinstance(part, list) and part[2].get("pretrained_model_name_or_path"):
            part[2]["pretrained_model_name_or_path"] = "somebody/else"
    (folder / INDEX).write_text(json.dumps(index))

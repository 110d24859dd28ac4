"""Cosmos-Transfer2.5 in miniature: the real classes with tiny random weights, saved as the hub's folders are."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from blueprint import torchvision_ops

torchvision_ops.make_importable()
from diffusers import (  # noqa: E402
    AutoencoderKLWan,
    Cosmos2_5_TransferPipeline,
    CosmosControlNetModel,
    CosmosTransformer3DModel,
    UniPCMultistepScheduler,
)
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration  # noqa: E402

from blueprint.engines.pipelines import Guardrails  # noqa: E402

TEMPLATE = "{% for message in messages %}{{ message['role'] }}: {{ message['content'][0]['text'] }}\n{% endfor %}"


def tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, with a chat template."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="<end>")
    made.chat_template = TEMPLATE
    return made


def text_encoder() -> Qwen2_5_VLForConditionalGeneration:
    """Two layers of 16 channels: embeddings have 32."""
    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "vocab_size": 300,
            "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"},
            "rope_theta": 1000000.0,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 16,
        },
        vision_start_token_id=290,
        vision_end_token_id=291,
        image_token_id=292,
        video_token_id=293,
    )
    return Qwen2_5_VLForConditionalGeneration(config)


def write(base: Path, controlnet: Path, seed: int = 0) -> None:
    """Save a tiny pipeline into ``base`` and a tiny ControlNet into ``controlnet``."""
    torch.manual_seed(seed)
    shared = (
        {"num_attention_heads": 2, "attention_head_dim": 16, "mlp_ratio": 2, "text_embed_dim": 32, "adaln_lora_dim": 4}
        | {"max_size": (128, 240, 240), "patch_size": (1, 2, 2), "rope_scale": (2.0, 1.0, 1.0)}
        | {"extra_pos_embed_type": None, "img_context_dim_in": 32, "img_context_dim_out": 32}
    )
    control = CosmosControlNetModel(
        n_controlnet_blocks=2, in_channels=18, latent_channels=18, model_channels=32, **shared
    )
    pipe = Cosmos2_5_TransferPipeline(
        text_encoder=text_encoder(),
        tokenizer=tokenizer(),
        transformer=CosmosTransformer3DModel(
            in_channels=17,
            out_channels=16,
            num_layers=2,
            controlnet_block_every_n=1,
            img_context_num_tokens=4,
            **shared,
        ),
        vae=AutoencoderKLWan(
            base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
        ),
        scheduler=UniPCMultistepScheduler(),
        controlnet=control,
        safety_checker=Guardrails(None),
    )
    pipe.register_modules(controlnet=None, safety_checker=None)
    pipe.save_pretrained(base)
    control.save_pretrained(controlnet)

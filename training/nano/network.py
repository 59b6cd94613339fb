"""The nano model: FastVLM with a small ResNet as its eyes and a small Qwen2 as its language.

Standard transformers classes only, so that the exported folder loads with the Auto classes. The
ResNet normalises each picture by itself (GroupNorm with one group): neither the make-up of a batch
nor train or eval mode changes what a picture becomes. Leaves out training.
"""

from transformers import (
    FastVlmConfig,
    FastVlmForConditionalGeneration,
    GenerationConfig,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2Config,
    TimmWrapperConfig,
    ViTImageProcessor,
)
from vocabulary import END, IMAGE, PAD

SIDE_PX = 192
"""Every picture is stretched to a square of this side."""
STRIDE = 32
IMAGE_TOKENS = (SIDE_PX // STRIDE) ** 2
WIDTH = 192
VISION_WIDTH = 256

#: ChatML; a picture in any role's content becomes the image token, a string is taken as it is.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['content'] is string -%}
{{- message['content'] -}}
{%- elif message['content'] -%}
{%- for part in message['content'] -%}
{%- if part is string -%}{{- part -}}
{%- elif part['type'] == 'image' or 'image' in part or 'image_url' in part -%}{{- '<image>' -}}
{%- elif 'text' in part -%}{{- part['text'] -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- for call in message.get('tool_calls') or [] -%}
{%- set function = call['function'] if 'function' in call else call -%}
{{- '\\n<tool_call>\\n{"name": "' + function['name'] + '", "arguments": ' -}}
{%- if function['arguments'] is string -%}{{- function['arguments'] -}}
{%- else -%}{{- function['arguments'] | tojson -}}
{%- endif -%}
{{- '}\\n</tool_call>' -}}
{%- endfor -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


def build_model(tokenizer: PreTrainedTokenizerFast) -> FastVlmForConditionalGeneration:
    """The model with random weights from torch's global generator."""
    vision = TimmWrapperConfig(
        architecture="resnetv2_18",
        do_pooling=False,
        hidden_size=VISION_WIDTH,
        num_labels=0,
        model_args={
            "layers": [1, 1, 2, 2],
            "channels": [32, 64, 128, VISION_WIDTH],
            "stem_chs": 24,
            "norm_layer": "groupnorm1",
        },
    )
    text = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        use_cache=True,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids(END),
        pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
    )
    config = FastVlmConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=IMAGE_TOKENS,
        tie_word_embeddings=True,
    )
    model = FastVlmForConditionalGeneration(config)
    # transformers gives every convolution the same small weights; a ResNet needs timm's own
    model.model.vision_tower.timm_model.init_weights()
    model.generation_config = GenerationConfig(
        eos_token_id=text.eos_token_id, pad_token_id=text.pad_token_id, do_sample=False
    )
    return model


def build_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Pictures to 192 x 192 pixels in -1..1, texts to tokens, chats to text."""
    side = {"height": SIDE_PX, "width": SIDE_PX}
    images = ViTImageProcessor(
        size=side,
        crop_size=side,
        do_center_crop=False,
        resample=2,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
        do_convert_rgb=True,
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=STRIDE,
        vision_feature_select_strategy="full",
        image_token=IMAGE,
        chat_template=CHAT_TEMPLATE,
    )

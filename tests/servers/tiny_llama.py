"""A random Llama that a real LLM server can load: made in a second, of nothing but code.

    python tiny_llama.py FOLDER        in an environment that has transformers and torch

Its tokenizer is trained on the standard library's own sources, so nothing is downloaded. What it says makes no sense,
and takes the same path through a server as what a large one says.
"""

import sys
from itertools import islice
from pathlib import Path

VOCABULARY = 2000
CONTEXT = 1024
"""Tokens of prompt and answer together."""

END = "<|end|>"
TEMPLATE = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant: "


def make(folder):
    """Write model and tokenizer into ``folder``."""
    import tokenize

    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    sources = sorted(Path(tokenize.__file__).parent.glob("*.py"))
    trained = ByteLevelBPETokenizer()
    texts = (source.read_text(errors="replace") for source in islice(sources, 80))
    trained.train_from_iterator(texts, vocab_size=VOCABULARY, special_tokens=[END], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, eos_token=END, bos_token=END)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        bos_token_id=0,
        eos_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


if __name__ == "__main__":
    make(sys.argv[1])

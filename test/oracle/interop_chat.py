"""What transformers makes of conversations: writes test/fixtures/interop/chats.json. Versions: README.md.

Templates in the manner of SmolLM2 and Qwen2 (ChatML with a system message of its own), of Llama 3 (a beginning of text, trimmed
contents), and one that refuses what does not alternate.
"""
import json

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from fixture import FIXTURES

CHATML = """{% for message in messages %}
{%- if loop.first and messages[0]['role'] != 'system' -%}
{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
LLAMA3 = """{{- bos_token }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
STRICT = """{%- set loop_messages = messages[1:] if messages[0].role == 'system' else messages -%}
{%- for message in loop_messages %}
  {%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
    {{- raise_exception('Roles must alternate user and assistant.') }}
  {%- endif %}
  {%- set ns = namespace(text=message.content | upper) %}
  {% if loop.last %}LAST {% endif %}[{{ ns.text }}]{{ eos_token if message.role == 'assistant' else '' }}
{% endfor %}"""
CHATS = [
    [{"role": "user", "content": "Hello there!"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "  Wie geht’s? 😀\n"}],
    [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b <|im_end|>"}, {"role": "user", "content": ""}],
    [{"role": "user", "content": "a"}, {"role": "user", "content": "again"}],
]

cases = []
for name, template in {"chatml": CHATML, "llama3": LLAMA3, "strict": STRICT}.items():
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE()), bos_token="<|begin_of_text|>", eos_token="</s>", chat_template=template,
    )
    for messages in CHATS:
        for prompt in (True, False):
            try:
                text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
            except Exception as error:
                text = None
                assert "alternate" in str(error)
            cases.append({"template": name, "messages": messages, "addGenerationPrompt": prompt, "text": text})
fixture = {
    "templates": {"chatml": CHATML, "llama3": LLAMA3, "strict": STRICT},
    "variables": {"bos_token": "<|begin_of_text|>", "eos_token": "</s>"},
    "cases": cases,
}
path = FIXTURES / "interop" / "chats.json"
path.write_text(json.dumps(fixture, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
print(path.name, len(cases), "cases")

"""The official OpenAI client for Python (pip install openai), with a token of the gateway.

Needs LGW_URL (http://192.168.1.2:7000) and LGW_TOKEN (lgw_…) in the environment.
"""

import os

from openai import OpenAI

client = OpenAI(base_url=os.environ["LGW_URL"] + "/v1", api_key=os.environ["LGW_TOKEN"])
model = client.models.list().data[0].id
messages = [{"role": "user", "content": "Explain MQTT in one sentence."}]

whole = client.chat.completions.create(model=model, messages=messages, max_tokens=64)
print(whole.choices[0].message.content)
print(f"{whole.usage.total_tokens} tokens, request {whole._request_id}")

for chunk in client.chat.completions.create(model=model, messages=messages, max_tokens=64, stream=True):
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()

"""The official OpenAI client for Python (pip install openai), with an account of the gateway.

Needs LGW_URL (http://192.168.1.2:7000), LGW_USER and LGW_PASSWORD in the environment.
"""

import json
import os
import urllib.request

from openai import OpenAI

gateway = os.environ["LGW_URL"]

# The token is valid for an hour; ask for a new one when the client raises AuthenticationError.
credentials = {"username": os.environ["LGW_USER"], "password": os.environ["LGW_PASSWORD"]}
sign_in = urllib.request.Request(
    gateway + "/auth/token", json.dumps(credentials).encode(), {"Content-Type": "application/json"})
with urllib.request.urlopen(sign_in, timeout=30) as answer:
    token = json.load(answer)["access_token"]

client = OpenAI(base_url=gateway + "/v1", api_key=token)
model = next(iter(client.models.list())).id
messages = [{"role": "user", "content": "Explain MQTT in one sentence."}]

whole = client.chat.completions.create(model=model, messages=messages, max_tokens=64)
print(whole.choices[0].message.content)
print(f"{whole.usage.total_tokens} tokens, request {whole._request_id}")

for chunk in client.chat.completions.create(model=model, messages=messages, max_tokens=64, stream=True):
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()

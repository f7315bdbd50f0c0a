#!/usr/bin/env bash
# Chats from the command line. Needs curl and jq, and in the environment:
#   LGW_URL=http://192.168.1.2:7000  LGW_TOKEN=lgw_…
# Secrets go through standard input, never into arguments: every user of the host can read those.
set -euo pipefail

header() { printf 'header = "Authorization: Bearer %s"\n' "$LGW_TOKEN"; }
ask() { curl --fail-with-body -sS --config - -H 'Content-Type: application/json' "$@"; }

# Ollama's chat object. Without `model`, the default model answers.
header | ask "$LGW_URL/chat" -d '{
  "messages": [{"role": "user", "content": "Explain MQTT in one sentence."}],
  "options": {"num_predict": 64}
}' | jq -r .message.content

# OpenAI's API, as a stream: `-N` prints the pieces as they come.
model=$(header | ask "$LGW_URL/v1/models" | jq -r '.data[0].id')
header | ask -N "$LGW_URL/v1/chat/completions" -d '{
  "model": "'"$model"'",
  "messages": [{"role": "user", "content": "Explain MQTT in one sentence."}],
  "max_tokens": 64,
  "stream": true
}'

# As the first version took it, with a password in the body, if there is one: LGW_USER=you@company.com LGW_PASSWORD=…
[ -z "${LGW_PASSWORD:-}" ] || jq -n '{
  auth: {username: env.LGW_USER, password: env.LGW_PASSWORD},
  messages: [{role: "user", content: "Explain MQTT in one sentence."}],
  options: {num_predict: 64}
}' | curl --fail-with-body -sS "$LGW_URL/chat" -H 'Content-Type: application/json' -d @- | jq -r .message.content

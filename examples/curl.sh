#!/usr/bin/env bash
# Chats from the command line. Needs curl and jq, and in the environment:
#   LGW_URL=http://192.168.1.2:7000  LGW_USER=you@company.com  LGW_PASSWORD=…
# Secrets go through standard input, never into arguments: every user of the host can read those.
set -euo pipefail

# With the password in the body, as the first version took it. `model` may be left out.
jq -n '{
  auth: {username: env.LGW_USER, password: env.LGW_PASSWORD},
  messages: [{role: "user", content: "Explain MQTT in one sentence."}],
  options: {num_predict: 64}
}' | curl -fsS "$LGW_URL/chat" -H 'Content-Type: application/json' -d @- | jq -r .message.content

# With a token, which is valid for an hour, on the OpenAI-compatible API.
token=$(jq -n '{username: env.LGW_USER, password: env.LGW_PASSWORD}' |
    curl -fsS "$LGW_URL/auth/token" -H 'Content-Type: application/json' -d @- | jq -r .access_token)
header() { printf 'header = "Authorization: Bearer %s"\n' "$token"; }

model=$(header | curl -fsS --config - "$LGW_URL/v1/models" | jq -r '.data[0].id')

# A stream: `-N` prints the pieces as they come.
header | curl -fsSN --config - "$LGW_URL/v1/chat/completions" -H 'Content-Type: application/json' -d '{
  "model": "'"$model"'",
  "messages": [{"role": "user", "content": "Explain MQTT in one sentence."}],
  "max_tokens": 64,
  "stream": true
}'

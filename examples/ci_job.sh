#!/bin/sh
# Asks the gateway about the text on standard input and prints the answer. Needs curl and jq.
#
#   git log -1 --format=%B | LGW_URL=http://192.168.1.2:7000 LGW_USER=ci@company.com LGW_PASSWORD=… sh ci_job.sh
#
# Keep the three in the CI's secret variables. A CI job has an account of its own, so that the record shows what it sent.
set -eu

# Exit codes of curl don't pass through a pipe in POSIX sh; so every answer goes into a variable first.
credentials=$(jq -n '{username: env.LGW_USER, password: env.LGW_PASSWORD}')
answer=$(printf %s "$credentials" | curl -fsS "$LGW_URL/auth/token" -H 'Content-Type: application/json' -d @-)
token=$(printf %s "$answer" | jq -r .access_token)

body=$(mktemp)
trap 'rm -f "$body"' EXIT
jq -Rs '{
  messages: [
    {role: "system", content: "Summarize the text in one sentence."},
    {role: "user", content: .}
  ],
  options: {num_predict: 64, temperature: 0}
}' >"$body"

# After a 429 or 503, curl waits for as long as `Retry-After` says, then tries again.
answer=$(printf 'header = "Authorization: Bearer %s"\n' "$token" |
    curl -fsS --config - --retry 5 --retry-max-time 300 --max-time 600 \
        "$LGW_URL/chat" -H 'Content-Type: application/json' -d @"$body")
printf %s "$answer" | jq -r .message.content

#!/bin/sh
# Asks the gateway about the text on standard input and prints the answer. Needs curl and jq.
#
#   git log -1 --format=%B | LGW_URL=http://192.168.1.2:7000 LGW_TOKEN=lgw_… sh ci_job.sh
#
# Keep the token in the CI's secret variables. Make one for each pipeline, so that the record shows what it sent:
#   lan-gateway token create ci@company.com "summaries of main" --class batch
set -eu

body=$(mktemp)
trap 'rm -f "$body"' EXIT
jq -Rs '{
  messages: [
    {role: "system", content: "Summarize the text in one sentence."},
    {role: "user", content: .}
  ],
  options: {num_predict: 64, temperature: 0}
}' >"$body"

# Exit codes of curl don't pass through a pipe in POSIX sh; so the answer goes into a variable first.
# After a 429 or 503, curl waits for as long as `Retry-After` says, then tries again.
answer=$(printf 'header = "Authorization: Bearer %s"\n' "$LGW_TOKEN" |
    curl --fail-with-body -sS --config - --retry 5 --retry-max-time 300 --max-time 600 \
        "$LGW_URL/chat" -H 'Content-Type: application/json' -d @"$body") || {
    echo "$answer" >&2
    exit 1
}
printf %s "$answer" | jq -r .message.content

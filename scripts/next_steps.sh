#!/usr/bin/env bash
# Prints the commands that follow a first start, ready to be typed; the tests run them as they are.
# Usage: scripts/next_steps.sh URL MODEL
set -euo pipefail
URL=$1 MODEL=$2
cat <<STEPS
JSON='Content-Type: application/json'

# 1. Once: change the password of admin. Until then it opens nothing else.
curl -fsS $URL/api/v1/password -H "\$JSON" -d '{"username":"admin","current_password":"admin123","new_password":"seven-grey-herons"}'

# 2. Register, as everybody does for themselves.
curl -fsS $URL/api/v1/register -H "\$JSON" -d '{"email":"you@example.com","password":"quiet-lamps-over-water"}'

# 3. Sign in as admin and approve the account.
token() { curl -fsS $URL/auth/token -H "\$JSON" -d "{\"username\":\"\$1\",\"password\":\"\$2\"}" | python3 -c 'import json,sys; print(json.load(sys.stdin)["access_token"])'; }
ADMIN=\$(token admin seven-grey-herons)
ID=\$(curl -fsS "$URL/api/v1/users?search=you@example.com" -H "Authorization: Bearer \$ADMIN" | python3 -c 'import json,sys; print(json.load(sys.stdin)["items"][0]["id"])')
curl -fsS -X POST $URL/api/v1/users/\$ID/approve -H "Authorization: Bearer \$ADMIN"

# 4. Chat: with the password, or with a token.
curl -fsS $URL/chat -H "\$JSON" -d '{"auth":{"username":"you@example.com","password":"quiet-lamps-over-water"},"messages":[{"role":"user","content":"Say hello."}],"options":{"num_predict":64}}'
export OPENAI_BASE_URL=$URL/v1 OPENAI_API_KEY=\$(token you@example.com quiet-lamps-over-water)
curl -fsS \$OPENAI_BASE_URL/chat/completions -H "Authorization: Bearer \$OPENAI_API_KEY" -H "\$JSON" -d '{"model":"$MODEL","max_tokens":64,"messages":[{"role":"user","content":"Say hello."}]}'

# 5. Any OpenAI client: base URL $URL/v1, and as its API key the token from /auth/token (valid for an hour).
STEPS

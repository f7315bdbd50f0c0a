// The official OpenAI client for JavaScript (npm install openai), with an account of the gateway.
// Needs LGW_URL (http://192.168.1.2:7000), LGW_USER and LGW_PASSWORD in the environment.
import OpenAI from "openai";

const { LGW_URL, LGW_USER, LGW_PASSWORD } = process.env;

// The token is valid for an hour; ask for a new one when the client throws AuthenticationError.
const signIn = await fetch(`${LGW_URL}/auth/token`, {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ username: LGW_USER, password: LGW_PASSWORD }),
});
if (!signIn.ok) throw new Error(`sign-in failed with ${signIn.status}`);
const { access_token } = await signIn.json();

const client = new OpenAI({ baseURL: `${LGW_URL}/v1`, apiKey: access_token });
const [{ id: model }] = (await client.models.list()).data;
const messages = [{ role: "user", content: "Explain MQTT in one sentence." }];

const whole = await client.chat.completions.create({ model, messages, max_tokens: 64 });
console.log(whole.choices[0].message.content);
console.log(`${whole.usage.total_tokens} tokens, request ${whole._request_id}`);

const stream = await client.chat.completions.create({ model, messages, max_tokens: 64, stream: true });
for await (const chunk of stream) process.stdout.write(chunk.choices[0].delta.content ?? "");
console.log();

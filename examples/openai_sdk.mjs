// The official OpenAI client for JavaScript (npm install openai), with a token of the gateway.
// Needs LGW_URL (http://192.168.1.2:7000) and LGW_TOKEN (lgw_…) in the environment.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.env.LGW_URL}/v1`, apiKey: process.env.LGW_TOKEN });
const [{ id: model }] = (await client.models.list()).data;
const messages = [{ role: "user", content: "Explain MQTT in one sentence." }];

const whole = await client.chat.completions.create({ model, messages, max_tokens: 64 });
console.log(whole.choices[0].message.content);
console.log(`${whole.usage.total_tokens} tokens, request ${whole._request_id}`);

const stream = await client.chat.completions.create({ model, messages, max_tokens: 64, stream: true });
for await (const chunk of stream) process.stdout.write(chunk.choices[0].delta.content ?? "");
console.log();

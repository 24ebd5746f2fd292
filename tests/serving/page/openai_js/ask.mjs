/** What OpenAI's client finds at the server, in Node and in a browser alike. */
import OpenAI from "./node_modules/openai/index.mjs";

export async function ask(baseURL, apiKey) {
  const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, dangerouslyAllowBrowser: true });
  const whole = await client.embeddings.create({ model: "nano", input: ["rain", "snow"] });
  const given = { model: "nano", input: "rain", encoding_format: "float", dimensions: null, user: null };
  const { data, response } = await client.embeddings.create(given).withResponse();
  const wrong = await client.embeddings.create({ model: "other", input: "rain" }).catch((error) => error);
  const models = [];
  for await (const model of client.models.list()) models.push(model.id);
  return {
    vectors: whole.data.map(({ embedding }) => embedding),
    floats: data.data[0].embedding,
    id: response.headers.get("x-request-id"),
    wrong: [wrong.status, wrong.code, wrong.requestID],
    models,
  };
}

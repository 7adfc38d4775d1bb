// The AI SDK's Cohere provider, Cohere's SDK and LangChain's CohereRerank.
//
//   node node.mjs URL MODEL CASES, where CASES is the JSON of tests.clients.calls.cases
//
// Needs: ai@6 @ai-sdk/cohere@3 cohere-ai @langchain/cohere @langchain/core
import { createCohere } from "@ai-sdk/cohere";
import { CohereRerank } from "@langchain/cohere";
import { rerank } from "ai";
import { CohereClient, CohereClientV2 } from "cohere-ai";

const clients = {
  "ai-sdk": async ({ url, model, query, texts, top_n }) => {
    const provider = createCohere({ baseURL: `${url}/v2`, apiKey: "x" });
    const answer = await rerank({
      model: provider.reranking(model),
      query,
      documents: texts,
      ...(top_n === null ? {} : { topN: top_n }),
    });
    return answer.ranking.map((row) => [row.originalIndex, row.score, row.document]);
  },
  "cohere-ai v2": async ({ url, model, query, texts, top_n }) => {
    const client = new CohereClientV2({ environment: url, token: "x" });
    const asked = { model, query, documents: texts, topN: top_n ?? undefined };
    const answer = await client.rerank(asked);
    return answer.results.map((row) => [row.index, row.relevanceScore, null]);
  },
  "cohere-ai v1": async ({ url, model, query, texts, top_n, returned }) => {
    const client = new CohereClient({ environment: url, token: "x" });
    const asked = { model, query, documents: texts, topN: top_n ?? undefined };
    const answer = await client.rerank({ ...asked, returnDocuments: returned });
    return answer.results.map((row) => [row.index, row.relevanceScore, row.document?.text ?? null]);
  },
  "langchain CohereRerank": async ({ url, model, query, texts, top_n }) => {
    const client = new CohereClient({ environment: url, token: "x" });
    const ranker = new CohereRerank({ client, model, topN: top_n ?? texts.length });
    const rows = await ranker.rerank(texts, query);
    return rows.map((row) => [row.index, row.relevanceScore, null]);
  },
};

for (const [client, call] of Object.entries(clients)) {
  for (const [name, ask] of Object.entries(JSON.parse(process.argv[2]))) {
    const line = { client, case: name };
    try {
      line.rows = await call(ask);
    } catch (error) {
      line.error = `${error.name}: ${error.message} ${error.responseBody ?? ""}`;
    }
    console.log(JSON.stringify(line));
  }
}

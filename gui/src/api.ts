// Requests to the server, typed by its OpenAPI document, from which schema.d.ts is made.
import { useEffect, useState } from "react";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];
type Json<P extends keyof paths> = paths[P] extends { get: { responses: { 200: { content: { "application/json": infer T } } } } } ? T : never;
type Asked<P extends keyof paths> = paths[P] extends { get: { parameters: { query?: infer Q } } } ? Q : never;
export type Answer<T> = { data?: T; error?: string; loading: boolean };

// Addresses are relative to the page's: a proxy may serve it under a prefix. Fetch once, or every `interval` ms. The last answer stays until the next one arrives.
export function useApi<P extends keyof paths & string>(path: P, query: Asked<P>, interval = 0): Answer<Json<P>> {
  const given = Object.entries((query ?? {}) as Record<string, unknown>).filter(([, value]) => value !== undefined && value !== "");
  const url = `${path.slice(1)}?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
  const [answer, setAnswer] = useState<Answer<Json<P>> & { url?: string }>({ loading: true });
  useEffect(() => {
    const stop = new AbortController();
    let timer: number | undefined;
    const ask = async () => {
      try {
        const response = await fetch(url, { signal: stop.signal });
        const body = await response.json();
        setAnswer(response.ok ? { data: body, loading: false, url } : { error: body.error ?? `status ${response.status}`, loading: false, url });
      } catch (error) {
        if (stop.signal.aborted) return;
        setAnswer({ error: `the server does not answer (${error instanceof Error ? error.message : "unknown"})`, loading: false, url });
      }
      if (interval) timer = window.setTimeout(ask, interval);
    };
    setAnswer((before) => ({ ...before, loading: true }));
    void ask();
    return () => {
      stop.abort();
      window.clearTimeout(timer);
    };
  }, [url, interval]);
  return answer;
}

// What the server answers, typed by its OpenAPI document (schema.d.ts is made from it).
import { useEffect, useState } from "react";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];
type Json<P extends keyof paths> = paths[P] extends { get: { responses: { 200: { content: { "application/json": infer T } } } } } ? T : never;
type Asked<P extends keyof paths> = paths[P] extends { get: { parameters: { query?: infer Q } } } ? Q : never;
export type Answer<T> = { data?: T; error?: string; loading: boolean };

// Ask once, and every `again` ms if given. The last answer stays while the next is awaited.
export function useApi<P extends keyof paths & string>(path: P, query: Asked<P>, again = 0): Answer<Json<P>> {
  const given = Object.entries((query ?? {}) as Record<string, unknown>).filter(([, value]) => value !== undefined && value !== "");
  const url = `${path}?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
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
      if (again) timer = window.setTimeout(ask, again);
    };
    setAnswer((before) => ({ ...before, loading: true }));
    void ask();
    return () => {
      stop.abort();
      window.clearTimeout(timer);
    };
  }, [url, again]);
  return answer;
}

// The address of a page, #/page?name=value: plain links lead to pages, and the browser's back and forward work.
import { useSyncExternalStore } from "react";

function subscribe(notice: () => void): () => void {
  window.addEventListener("hashchange", notice);
  return () => window.removeEventListener("hashchange", notice);
}

export type Place = { page: string; query: URLSearchParams };

export function usePlace(): Place {
  const hash = useSyncExternalStore(subscribe, () => window.location.hash);
  const [page = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  return { page: page || "runs", query: new URLSearchParams(query) };
}

export function link(page: string, query: Record<string, string | number | undefined> = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return `#/${page}${text ? `?${text}` : ""}`;
}

// Change part of the address without a new entry in the browser's history.
export function adjust(place: Place, changes: Record<string, string>): void {
  const query = Object.fromEntries(place.query);
  window.location.replace(link(place.page, { ...query, ...changes }));
}

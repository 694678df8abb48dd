// Elements that all pages share.
import { type ReactNode, useEffect, useRef, useState } from "react";
import type { Answer } from "./api";
import { cell } from "./format";
import { adjust, type Place } from "./place";

export function Title({ children }: { children: string }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${children} · SpectraMind`;
    heading.current?.focus({ preventScroll: true });
  }, [children]);
  return (
    <h1 ref={heading} tabIndex={-1}>
      {children}
    </h1>
  );
}

export function Awaited<T>({ answer, children }: { answer: Answer<T>; children: (data: T) => ReactNode }) {
  if (answer.error) return <p role="alert" className="problem">{answer.error}</p>;
  if (answer.data === undefined) return <p className="quiet">…</p>;
  return <div aria-busy={answer.loading}>{children(answer.data)}</div>;
}

export function Problems({ texts }: { texts: string[] }) {
  return texts.map((text, n) => (
    <p key={n} role="alert" className="problem">
      {text}
    </p>
  ));
}

type Column = { key: string; name: string; sortable?: boolean; number?: boolean };
type Cells = { key: string; cells: ReactNode[] };

export function Sorted({ place, columns, rows, sort, order, caption }: {
  place: Place; columns: Column[]; rows: Cells[]; sort: string; order: string; caption: string;
}) {
  return (
    <div className="wide">
      <table>
        <caption>{caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => {
              const active = column.key === sort;
              const next = active && order === "asc" ? "desc" : active ? "asc" : column.number ? "desc" : "asc";
              return (
                <th
                  key={column.key}
                  scope="col"
                  className={column.number ? "number" : undefined}
                  aria-sort={active ? (order === "asc" ? "ascending" : "descending") : undefined}
                >
                  {column.sortable === false ? (
                    column.name
                  ) : (
                    <button type="button" onClick={() => adjust(place, { sort: column.key, order: next, offset: "" })}>
                      {column.name}
                      <span aria-hidden="true">{active ? (order === "asc" ? " ▲" : " ▼") : ""}</span>
                    </button>
                  )}
                </th>
              );
            })}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.key}>
              {row.cells.map((content, n) => (
                <td key={n} className={columns[n]?.number ? "number" : undefined}>
                  {content}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

// A search field; the address follows 150 ms after the last letter.
export function Filter({ place, label }: { place: Place; label: string }) {
  const [text, setText] = useState(place.query.get("q") ?? "");
  const latest = useRef(place);
  latest.current = place;
  useEffect(() => {
    if (text === (latest.current.query.get("q") ?? "")) return;
    const timer = window.setTimeout(() => adjust(latest.current, { q: text, offset: "" }), 150);
    return () => window.clearTimeout(timer);
  }, [text]);
  return (
    <label>
      {label} <input type="search" value={text} onChange={(event) => setText(event.target.value)} maxLength={200} />
    </label>
  );
}

export function Pager({ place, total, limit }: { place: Place; total: number; limit: number }) {
  const offset = Number(place.query.get("offset") ?? 0);
  const go = (to: number) => adjust(place, { offset: to ? String(to) : "" });
  if (total <= limit) return null;
  return (
    <nav className="pager" aria-label="Pages of the table">
      <button type="button" disabled={offset === 0} onClick={() => go(Math.max(0, offset - limit))}>
        Previous
      </button>
      <span>
        {offset + 1} to {Math.min(offset + limit, total)} of {total}
      </span>
      <button type="button" disabled={offset + limit >= total} onClick={() => go(offset + limit)}>
        Next
      </button>
    </nav>
  );
}

export function Facts({ title, facts }: { title: string; facts: Record<string, unknown> }) {
  const entries = Object.entries(facts);
  if (!entries.length) return null;
  return (
    <section>
      <h2>{title}</h2>
      <dl>
        {entries.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{cell(value)}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

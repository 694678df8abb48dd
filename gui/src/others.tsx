// Leaderboards, running commands, dashboards, and the description of the API.
import { useState } from "react";
import { useApi } from "./api";
import { cell, seconds, size, when } from "./format";
import { Awaited, Problems, Sorted, Title } from "./parts";
import { link, type Place } from "./place";
import { History } from "./runs";
import type { components } from "./schema";

export function Boards() {
  const answer = useApi("/api/leaderboards", {} as never);
  return (
    <>
      <Title>Leaderboards</Title>
      <Awaited answer={answer}>
        {(boards) =>
          boards.length ? (
            <ul>
              {boards.map((board) => (
                <li key={board.id}>
                  <a href={link("board", { board: board.id })}>{board.name}</a> ({board.kind})
                </li>
              ))}
            </ul>
          ) : (
            <p className="quiet">No leaderboard yet: `ablate` and `compare` write them.</p>
          )
        }
      </Awaited>
    </>
  );
}

export function BoardPage({ place }: { place: Place }) {
  const answer = useApi("/api/leaderboard", { board: place.query.get("board") ?? "" });
  return (
    <>
      <Title>Leaderboard</Title>
      <Awaited answer={answer}>
        {(table) => {
          const sort = place.query.get("sort") ?? "";
          const order = place.query.get("order") ?? "asc";
          const at = table.columns.indexOf(sort);
          const numeric = table.columns.map((_, n) => table.rows.every((row) => row[n] === "" || Number.isFinite(Number(row[n]))));
          const rows = at < 0 ? table.rows : table.rows.toSorted((a, b) => {
            const [x, y] = [a[at] ?? "", b[at] ?? ""];
            if (x === "" || y === "") return x === y ? 0 : x === "" ? 1 : -1;
            return (numeric[at] ? Number(x) - Number(y) : x.localeCompare(y)) * (order === "asc" ? 1 : -1);
          });
          return (
            <Sorted
              place={place}
              sort={sort}
              order={order}
              caption={`${table.name}, ${table.rows.length} rows`}
              columns={table.columns.map((name, n) => ({ key: name, name, number: numeric[n] }))}
              rows={rows.map((row, k) => ({ key: String(k), cells: row.map((text, n) => (text === "" ? "–" : numeric[n] ? cell(Number(text)) : text)) }))}
            />
          );
        }}
      </Awaited>
    </>
  );
}

export function RunningPage() {
  const answer = useApi("/api/running", {} as never, 2000);
  return (
    <>
      <Title>Running</Title>
      <p className="quiet">Updated every two seconds.</p>
      <Awaited answer={answer}>
        {(runs) =>
          runs.length === 0 ? (
            <p>No command is running.</p>
          ) : (
            runs.map((run) => (
              <section key={run.id}>
                <h2>{`${run.command}: ${run.folder}`}</h2>
                {run.problem && <Problems texts={[run.problem]} />}
                <p>
                  Started {when(run.started)}, last update {seconds(run.seconds_since_update)} ago
                  {(run.seconds_since_update ?? 0) > 300 ? ": it may have been killed" : ""}.
                </p>
                {run.total ? (
                  <p>
                    <progress value={run.done ?? 0} max={run.total} aria-label={`${run.command} ${run.folder}`} /> {run.done} of {run.total}
                  </p>
                ) : null}
                <History epochs={run.history ?? []} />
                {(run.log ?? []).length > 0 && <pre tabIndex={0}>{(run.log ?? []).join("\n")}</pre>}
              </section>
            ))
          )
        }
      </Awaited>
    </>
  );
}

export function Dashboards({ place }: { place: Place }) {
  const shown = place.query.get("show");
  const answer = useApi("/api/pages", {} as never);
  return (
    <>
      <Title>Dashboards</Title>
      <Awaited answer={answer}>
        {(pages) => (
          <>
            {pages.length === 0 && <p className="quiet">No dashboard yet: `diagnose dashboard`, `report` and `ablate` write them.</p>}
            <ul>
              {pages.map((page) => (
                <li key={page.id}>
                  <a href={link("dashboards", { show: page.id })} aria-current={page.id === shown ? "true" : undefined}>
                    {page.name}
                  </a>{" "}
                  ({size(page.bytes)}, {when(page.modified)}, <a href={`pages/${page.id}`}>open in this window</a>)
                </li>
              ))}
            </ul>
            {pages.filter((page) => page.id === shown).map((page) => (
              <iframe key={page.id} title={page.name} src={`pages/${page.id}`} sandbox="allow-scripts allow-downloads" />
            ))}
          </>
        )}
      </Awaited>
    </>
  );
}

type Parameter = { name: string; required?: boolean; schema?: { type?: string; enum?: string[]; default?: unknown; anyOf?: { type?: string }[] } };
type Operation = { summary?: string; description?: string; parameters?: Parameter[] };
type Shape = { $ref?: string; type?: string; items?: Shape; anyOf?: Shape[]; additionalProperties?: Shape };
type Document = {
  paths: Record<string, { get?: Operation & { responses: Record<string, { content?: Record<string, { schema?: Shape }> }> } }>;
  components: { schemas: Record<keyof components["schemas"], { description?: string; properties?: Record<string, Shape> }> };
};

function type(shape: Shape | undefined): string {
  if (!shape) return "any";
  if (shape.$ref) return shape.$ref.split("/").at(-1) ?? "any";
  if (shape.anyOf) return shape.anyOf.map(type).join(" | ");
  if (shape.type === "array") return `${type(shape.items)}[]`;
  if (shape.additionalProperties) return `name → ${type(shape.additionalProperties)}`;
  return shape.type ?? "any";
}

export function Api() {
  const [document, setDocument] = useState<Document>();
  const [failed, setFailed] = useState("");
  if (!document && !failed) {
    fetch("api/openapi.json").then((r) => r.json()).then(setDocument, (error: Error) => setFailed(error.message));
  }
  return (
    <>
      <Title>API</Title>
      <p>
        All pages use these requests. Their OpenAPI document: <a href="api/openapi.json">openapi.json</a>.
      </p>
      {failed && <Problems texts={[failed]} />}
      {document && (
        <>
          {Object.entries(document.paths).map(([path, { get }]) => (
            <section key={path}>
              <h2>
                <code>GET {path}</code>
              </h2>
              <p>
                {get?.description} Returns <code>{type(get?.responses["200"]?.content?.["application/json"]?.schema)}</code>.
              </p>
              {(get?.parameters ?? []).length > 0 && (
                <ul>
                  {get?.parameters?.map((parameter) => (
                    <li key={parameter.name}>
                      <code>{parameter.name}</code> {parameter.schema?.enum?.join(" | ") ?? parameter.schema?.type}
                      {parameter.required ? ", required" : parameter.schema?.default !== undefined ? `, default ${JSON.stringify(parameter.schema.default)}` : ""}
                    </li>
                  ))}
                </ul>
              )}
            </section>
          ))}
          <h2>Types</h2>
          {Object.entries(document.components.schemas).map(([name, schema]) => (
            <section key={name}>
              <h3>
                <code>{name}</code>
              </h3>
              <p className="text">{schema.description}</p>
              <ul className="columns">
                {Object.entries(schema.properties ?? {}).map(([field, shape]) => (
                  <li key={field}>
                    <code>{field}</code> {type(shape)}
                  </li>
                ))}
              </ul>
            </section>
          ))}
        </>
      )}
    </>
  );
}

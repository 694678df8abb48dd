// The list of runs, one run, two runs side by side.
import { useState } from "react";
import { type Schemas, useApi } from "./api";
import { Chart, type Line } from "./chart";
import { cell, seconds, short, size, when } from "./format";
import { Awaited, Facts, Filter, Pager, Problems, Sorted, Title } from "./parts";
import { adjust, link, type Place } from "./place";

const LIMIT = 100;
type Sort = "started" | "folder" | "command" | "score" | "seconds";
type Order = "asc" | "desc";

export function Runs({ place }: { place: Place }) {
  const [q, command] = [place.query.get("q") ?? "", place.query.get("command") ?? ""];
  const sort = (place.query.get("sort") ?? "started") as Sort;
  const order = (place.query.get("order") ?? "desc") as Order;
  const [chosen, setChosen] = useState<string[]>([]);
  const answer = useApi("/api/runs", { q, command, sort, order, offset: Number(place.query.get("offset") ?? 0), limit: LIMIT });
  const choose = (id: string) => setChosen((before) => (before.includes(id) ? before.filter((x) => x !== id) : [...before, id].slice(-2)));
  return (
    <>
      <Title>Runs</Title>
      <form className="tools" role="search" onSubmit={(event) => event.preventDefault()}>
        <Filter place={place} label="Search folder or command" />
        <label>
          Command{" "}
          <select value={command} onChange={(event) => adjust(place, { command: event.target.value, offset: "" })}>
            <option value="">all</option>
            {(answer.data?.commands ?? (command ? [command] : [])).map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
        {chosen.length === 2 ? (
          <a className="action" href={link("compare", { a: chosen[0], b: chosen[1] })}>
            Compare the selected runs
          </a>
        ) : (
          <span className="quiet">Select two runs to compare them.</span>
        )}
      </form>
      <Awaited answer={answer}>
        {(data) => (
          <>
            {data.incomplete && <Problems texts={["The folder has more files than the server reads: some runs may be missing."]} />}
            <Sorted
              place={place}
              sort={sort}
              order={order}
              caption={`${data.total} runs`}
              columns={[
                { key: "chosen", name: "Select", sortable: false },
                { key: "folder", name: "Folder" },
                { key: "command", name: "Command" },
                { key: "started", name: "Started", number: true },
                { key: "seconds", name: "Duration", number: true },
                { key: "score", name: "Score", number: true },
                { key: "git", name: "Commit", sortable: false },
              ]}
              rows={data.runs.map((run) => ({
                key: run.id,
                cells: [
                  <input
                    type="checkbox"
                    aria-label={`Select ${run.folder} ${run.command}`}
                    checked={chosen.includes(run.id)}
                    onChange={() => choose(run.id)}
                  />,
                  <>
                    <a href={link("run", { run: run.id })}>{run.folder === "." ? "(top folder)" : run.folder}</a>
                    {run.problem && <span className="problem"> {run.problem}</span>}
                  </>,
                  run.command,
                  when(run.started),
                  seconds(run.seconds),
                  short(run.score),
                  <code>{run.git ? `${run.git.slice(0, 9)}${run.dirty ? "+" : ""}` : "–"}</code>,
                ],
              }))}
            />
            <Pager place={place} total={data.total} limit={LIMIT} />
          </>
        )}
      </Awaited>
    </>
  );
}

export function History({ epochs }: { epochs: Schemas["Epoch"][] }) {
  if (epochs.length < 2) return null;
  const members = [...new Set(epochs.map((e) => e.member))];
  const x = [...new Set(epochs.map((e) => e.epoch))].sort((a, b) => a - b);
  const lines = (value: "score" | "loss"): Line[] =>
    members.map((member) => {
      const found = new Map(epochs.filter((e) => e.member === member).map((e) => [e.epoch, e[value]]));
      return { name: members.length > 1 ? `network ${member + 1}` : value, y: x.map((epoch) => found.get(epoch) ?? null) };
    });
  return (
    <div className="pair" key={members.length}>
      <Chart title="Score on the planets that choose the epoch (higher is better)" x={x} xName="epoch" yName="score" lines={lines("score")} height={200} />
      <Chart title="Training loss by epoch (lower is better)" x={x} xName="epoch" yName="loss" lines={lines("loss")} height={200} />
    </div>
  );
}

export function RunPage({ place }: { place: Place }) {
  const id = place.query.get("run") ?? "";
  const answer = useApi("/api/run", { run: id });
  return (
    <Awaited answer={answer}>
      {(data) => (
        <>
          <Title>{`${data.run.command}: ${data.run.folder}`}</Title>
          {data.run.problem && <Problems texts={[data.run.problem]} />}
          {data.run.has_submission && (
            <p>
              <a className="action" href={link("planets", { run: id })}>
                Planets of this submission
              </a>
            </p>
          )}
          <Facts
            title="Run"
            facts={{
              manifest: data.run.manifest, started: when(data.run.started), duration: seconds(data.run.seconds), seed: data.run.seed,
              commit: data.run.git && `${data.run.git}${data.run.dirty ? ", with uncommitted changes" : ""}`, "config hash": data.run.config_hash,
            }}
          />
          <Facts title="Metrics" facts={data.metrics} />
          <History epochs={data.history} />
          <Facts title="Settings" facts={data.settings} />
          <Facts title="Inputs" facts={data.inputs} />
          <Facts title="Versions" facts={data.versions} />
          <Facts title="Hardware" facts={data.hardware} />
          {data.n_artifacts > 0 && (
            <section>
              <h2>Artifacts</h2>
              <div className="wide">
                <table>
                  <caption>
                    {data.artifacts.length < data.n_artifacts ? `the first ${data.artifacts.length} of ${data.n_artifacts} files` : `${data.n_artifacts} files`}
                  </caption>
                  <thead>
                    <tr>
                      <th scope="col">Name</th>
                      <th scope="col" className="number">Size</th>
                      <th scope="col">SHA-256</th>
                    </tr>
                  </thead>
                  <tbody>
                    {data.artifacts.map((file) => (
                      <tr key={file.name}>
                        <td>{file.name}</td>
                        <td className="number">{size(file.bytes)}</td>
                        <td>
                          <code>{file.sha256.slice(0, 16)}…</code>
                        </td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            </section>
          )}
        </>
      )}
    </Awaited>
  );
}

function Side({ title, rows }: { title: string; rows: Schemas["Difference"][] }) {
  return (
    <section>
      <h2>{title}</h2>
      {rows.length === 0 ? (
        <p className="quiet">none</p>
      ) : (
        <div className="wide">
          <table>
            <thead>
              <tr>
                <th scope="col">Name</th>
                <th scope="col" className="number">A</th>
                <th scope="col" className="number">B</th>
                <th scope="col" className="number">B − A</th>
              </tr>
            </thead>
            <tbody>
              {rows.map((row) => (
                <tr key={row.name}>
                  <th scope="row">{row.name}</th>
                  <td className="number">{cell(row.a)}</td>
                  <td className="number">{cell(row.b)}</td>
                  <td className="number">{typeof row.a === "number" && typeof row.b === "number" ? short(row.b - row.a, 3) : ""}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

export function Compare({ place }: { place: Place }) {
  const answer = useApi("/api/compare", { a: place.query.get("a") ?? "", b: place.query.get("b") ?? "" });
  return (
    <>
      <Title>Two runs</Title>
      <Awaited answer={answer}>
        {(data) => (
          <>
            {(["a", "b"] as const).map((side) => (
              <p key={side}>
                {side.toUpperCase()}: <a href={link("run", { run: data[side].id })}>{`${data[side].command}: ${data[side].folder}`}</a>,{" "}
                {when(data[side].started)}
              </p>
            ))}
            <Side title="Metrics" rows={data.metrics} />
            <Side title="Settings that differ" rows={data.settings} />
            <Side title="Inputs that differ" rows={data.inputs} />
            <Side title="Versions that differ" rows={data.versions} />
          </>
        )}
      </Awaited>
    </>
  );
}

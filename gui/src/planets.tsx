// The planets of a submission, and one planet from all sides.
import { type Schemas, useApi } from "./api";
import { Chart, type Line } from "./chart";
import { short } from "./format";
import { Awaited, Facts, Filter, Pager, Problems, Sorted, Title } from "./parts";
import { link, type Place } from "./place";

const LIMIT = 100;
const PPM = 1e6;
const Z80 = 1.2815515594600038; // of a Gaussian's central 80 %
type Series = (number | null)[];
type Sort = "planet" | "depth_ppm" | "sigma_ppm" | "error_ppm" | "flags" | "violations";

export function PlanetList({ place }: { place: Place }) {
  const run = place.query.get("run") ?? "";
  const sort = (place.query.get("sort") ?? "planet") as Sort;
  const order = (place.query.get("order") ?? "asc") as "asc" | "desc";
  const offset = Number(place.query.get("offset") ?? 0);
  const answer = useApi("/api/planets", { run, q: place.query.get("q") ?? "", sort, order, offset, limit: LIMIT });
  return (
    <>
      <Title>Planets</Title>
      <p>
        <a href={link("run", { run })}>The run</a>
      </p>
      <form className="tools" role="search" onSubmit={(event) => event.preventDefault()}>
        <Filter place={place} label="Planet or flag" />
      </form>
      <Awaited answer={answer}>
        {(data) => (
          <>
            <Problems texts={data.problems} />
            <Sorted
              place={place}
              sort={sort}
              order={order}
              caption={`${data.total} planets. Depth: mean over wavelengths; sigma: median; error: mean absolute, where truth is known`}
              columns={[
                { key: "planet", name: "Planet" },
                { key: "depth_ppm", name: "Depth, ppm", number: true },
                { key: "sigma_ppm", name: "Sigma, ppm", number: true },
                { key: "error_ppm", name: "Error, ppm", number: true },
                { key: "violations", name: "Violations", number: true },
                { key: "flags", name: "Flags" },
              ]}
              rows={data.planets.map((planet) => ({
                key: planet.planet,
                cells: [
                  <a href={link("planet", { run, planet: planet.planet })}>{planet.planet}</a>,
                  short(planet.depth_ppm),
                  short(planet.sigma_ppm, 3),
                  short(planet.error_ppm, 3),
                  planet.violations === null ? "–" : String(planet.violations),
                  [planet.answered ? "" : "no answer of its own", ...planet.flags].filter(Boolean).join(", "),
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

const ppm = (values: Series): Series => values.map((value) => (value === null ? null : PPM * value));

function around(mean: Series, sigma: Series, side: number): Series {
  return mean.map((value, n) => {
    const spread = sigma[n];
    return value === null || spread === null || spread === undefined ? null : PPM * (value + side * Z80 * spread);
  });
}

type Axis = { x: Series; xName: string; apart?: string };

function Spectrum({ planet, axis }: { planet: Schemas["PlanetDetail"]; axis: Axis }) {
  const lines: Line[] = [
    { name: "80 % interval of V50", y: around(planet.mean, planet.sigma, -1), upper: around(planet.mean, planet.sigma, 1) },
    { name: "V50", y: ppm(planet.mean) },
  ];
  if (planet.truth) lines.push({ name: "truth", y: ppm(planet.truth) });
  for (const [name, both] of Object.entries(planet.others ?? {}))
    lines.push({ name, y: ppm(both[0] ?? []), dots: name === "transit fit", hidden: true });
  for (const [name, both] of Object.entries(planet.intervals ?? {})) lines.push({ name, y: ppm(both[0] ?? []), upper: ppm(both[1] ?? []), hidden: true });
  return <Chart title="Spectrum" {...axis} yName="(Rp/Rs)², ppm" lines={lines} height={340} />;
}

function Curves({ run, planet, fits }: { run: string; planet: string; fits: Schemas["Segment"][] }) {
  const answer = useApi("/api/light-curves", { run, planet });
  return (
    <section>
      <h2>Light curves</h2>
      <div className="pair">
        {fits.map((fit) => (
          <Chart
            key={fit.name}
            title={`${fit.name}: fitted white light; residuals ${short(fit.facts?.chi2 as number | null, 3)} times the expected variance`}
            x={fit.time}
            xName="time, h"
            yName="relative flux"
            height={220}
            lines={[{ name: "data", y: fit.flux, dots: true }, ...(fit.fit ? [{ name: "transit and drift, fitted", y: fit.fit }] : [])]}
          />
        ))}
      </div>
      <Awaited answer={answer}>
        {(data) => (
          <>
            <div className="pair">
              {data.segments.map((curve) => (
                <Chart
                  key={curve.name}
                  title={`${curve.name}: as calibration left it, ${short(curve.facts?.["electrons a sample"] as number | null)} electrons a sample`}
                  x={curve.time}
                  xName="time, h"
                  yName="relative flux"
                  height={220}
                  lines={[{ name: "white light", y: curve.flux, dots: true }]}
                />
              ))}
            </div>
            {data.problems.map((text, n) => (
              <p key={n} className="quiet">
                {text}
              </p>
            ))}
          </>
        )}
      </Awaited>
    </section>
  );
}

function Explanation({ planet, axis }: { planet: Schemas["PlanetDetail"]; axis: Axis }) {
  const [gates, relations, bands, edges] = [planet.gates ?? {}, planet.relations ?? {}, planet.attributions ?? [], planet.edges ?? []];
  const lines = (named: Record<string, Series>): Line[] => Object.entries(named).map(([name, y]) => ({ name, y }));
  const attributed = (method: "shap" | "ig") => bands.map((band, n) => ({ name: band.name, y: band[method], hidden: n > 0 }));
  const wavelength = (node: number) => (node === 0 && axis.apart ? axis.apart : short(axis.x[node]));
  if (!Object.keys(gates).length) return null;
  return (
    <section>
      <h2>What moved the spectrum</h2>
      <Chart title="Gates of the decoder: whom it believes at each wavelength" {...axis} yName="weight" lines={lines(gates)} height={220} />
      {bands.length > 0 && (
        <div className="pair">
          <Chart title="GradientShap of a band's correction" {...axis} yName="ppm" lines={attributed("shap")} height={220} />
          <Chart title="Integrated gradients of a band's correction" {...axis} yName="ppm" lines={attributed("ig")} height={220} />
        </div>
      )}
      {Object.keys(relations).length > 0 && (
        <Chart title="Wavelength graph: each relation's share of what reaches a wavelength" {...axis} yName="share" lines={lines(relations)} height={220} />
      )}
      {edges.length > 0 && (
        <div className="wide">
          <table>
            <caption>Strongest edges, mean over layers; attention only where the operator has it</caption>
            <thead>
              <tr>
                <th scope="col">From, µm</th>
                <th scope="col">To, µm</th>
                <th scope="col">Relation</th>
                <th scope="col" className="number">Share</th>
                <th scope="col" className="number">Attention</th>
              </tr>
            </thead>
            <tbody>
              {edges.map((edge, n) => (
                <tr key={n}>
                  <td>{wavelength(edge.source)}</td>
                  <td>{wavelength(edge.target)}</td>
                  <td>{edge.relation}</td>
                  <td className="number">{short(edge.share, 3)}</td>
                  <td className="number">{short(edge.attention, 3)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function Rules({ planet }: { planet: Schemas["PlanetDetail"] }) {
  if (planet.violated == null) return null;
  const found = planet.violations ?? [];
  return (
    <section>
      <h2>Rules of physics</h2>
      <p>{planet.violated.length ? `Violated: ${planet.violated.join(", ")}.` : "None violated."}</p>
      {found.length > 0 && (
        <div className="wide">
          <table>
            <caption>{found.length > 100 ? `the first 100 of ${found.length} bins` : `${found.length} bins`}</caption>
            <thead>
              <tr>
                <th scope="col">Rule</th>
                <th scope="col" className="number">Wavelength, µm</th>
                <th scope="col" className="number">Deviation, ppm</th>
                <th scope="col" className="number">In sigmas</th>
              </tr>
            </thead>
            <tbody>
              {found.slice(0, 100).map((row, n) => (
                <tr key={n}>
                  <td>{row.rule}</td>
                  <td className="number">{short(row.wavelength)}</td>
                  <td className="number">{short(row.ppm)}</td>
                  <td className="number">{short(row.sigmas, 3)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

export function PlanetPage({ place }: { place: Place }) {
  const [run, planet] = [place.query.get("run") ?? "", place.query.get("planet") ?? ""];
  const answer = useApi("/api/planet", { run, planet });
  return (
    <>
      <Title>{`Planet ${planet}`}</Title>
      <p>
        <a href={link("planets", { run })}>All planets of this submission</a>
      </p>
      <Awaited answer={answer}>
        {(data) => {
          const x = data.wavelength ?? data.mean.map((_, n) => n + 1);
          const far = data.wavelength && (data.wavelength[1] ?? 0) - (data.wavelength[0] ?? 0) > 0.5;
          const axis: Axis = { x, xName: data.wavelength ? "wavelength, µm" : "bin", apart: far ? "FGS1" : undefined };
          return (
            <>
              <Problems texts={data.problems ?? []} />
              {data.note && <p className="problem">{data.note}</p>}
              {(data.flags ?? []).length > 0 && <p>Flags of the fit: {(data.flags ?? []).join(", ")}</p>}
              <Spectrum key={planet} planet={data} axis={axis} />
              <Curves run={run} planet={planet} fits={data.fit ?? []} />
              <Explanation key={`explained ${planet}`} planet={data} axis={axis} />
              <Rules planet={data} />
              <Facts title="Molecules: share of the spectrum's shape" facts={data.molecules ?? {}} />
              <Facts title="Star, as the catalogue has it" facts={data.star ?? {}} />
              {Object.entries(data.missing ?? {}).map(([name, why]) => (
                <p key={name} className="quiet">
                  Not shown: {name}. {why}
                </p>
              ))}
            </>
          );
        }}
      </Awaited>
    </>
  );
}

// The planets of a submission, and all that is known of one planet.
import { type Schemas, useApi } from "./api";
import { Chart, type Line } from "./chart";
import { short } from "./format";
import { Awaited, Facts, Filter, Pager, Problems, Sorted, Title } from "./parts";
import { link, type Place } from "./place";

const LIMIT = 100;
const PPM = 1e6;
const Z80 = 1.2815515594600038; // half-width of a Gaussian's central 80 % in standard deviations
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
        <a href={link("run", { run })}>Run of this submission</a>
      </p>
      <form className="tools" role="search" onSubmit={(event) => event.preventDefault()}>
        <Filter place={place} label="Search planet or flag" />
      </form>
      <Awaited answer={answer}>
        {(data) => (
          <>
            <Problems texts={data.problems} />
            <Problems texts={Object.entries(data.skipped).map(([what, why]) => `predict skipped ${what}: ${why}`)} />
            <Sorted
              place={place}
              sort={sort}
              order={order}
              caption={`${data.total} planets. Depth: mean over wavelengths; sigma: median over wavelengths; error: mean absolute error, where the true spectrum is known`}
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
                  [planet.answered ? "" : "mean of the training spectra", ...planet.flags].filter(Boolean).join(", "),
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
  if (planet.truth) lines.push({ name: "true spectrum", y: ppm(planet.truth) });
  for (const [name, both] of Object.entries(planet.other_answers ?? {}))
    lines.push({ name, y: ppm(both[0] ?? []), dots: name === "transit fit", hidden: true });
  for (const [name, both] of Object.entries(planet.intervals ?? {})) lines.push({ name, y: ppm(both[0] ?? []), upper: ppm(both[1] ?? []), hidden: true });
  return <Chart title="Spectrum" {...axis} yName="(Rp/Rs)², ppm" lines={lines} height={340} />;
}

function Curves({ run, planet, fits }: { run: string; planet: string; fits: Schemas["FittedCurve"][] }) {
  const answer = useApi("/api/light-curves", { run, planet });
  return (
    <section>
      <h2>Light curves</h2>
      <div className="pair">
        {fits.map((fit) => (
          <Chart
            key={fit.name}
            title={`${fit.name}: transit fit; residual variance ${short(fit.chi2, 3)} times the expected, red noise with probability ${short(fit.red_noise_probability, 2)}`}
            x={fit.time}
            xName="time, h"
            yName="relative flux"
            height={220}
            lines={[{ name: "white light", y: fit.flux, dots: true }, { name: "model of transit and drift", y: fit.model }]}
          />
        ))}
      </div>
      <Awaited answer={answer}>
        {(data) => (
          <>
            <div className="pair">
              {data.curves.map((curve) => (
                <Chart
                  key={curve.name}
                  title={`${curve.name}: calibrated, ${short(curve.electrons_per_sample)} electrons per sample, ${short(100 * (curve.masked_fraction ?? 0), 2)} % of samples masked`}
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
  const [gates, relations, bands, edges] = [planet.gates ?? {}, planet.relation_shares ?? {}, planet.attributions ?? [], planet.edges ?? []];
  const lines = (named: Record<string, Series>): Line[] => Object.entries(named).map(([name, y]) => ({ name, y }));
  const attributed = (method: "shap" | "ig") => bands.map((band, n) => ({ name: band.name, y: band[method], hidden: n > 0 }));
  const wavelength = (node: number) => (node === 0 && axis.apart ? axis.apart : short(axis.x[node]));
  if (!Object.keys(gates).length) return null;
  return (
    <section>
      <h2>What moved the spectrum from its initial estimate</h2>
      <Chart title="Decoder gates: weight of each expert" {...axis} yName="weight" lines={lines(gates)} height={220} />
      {bands.length > 0 && (
        <div className="pair">
          <Chart title="GradientShap of the mean correction in a band" {...axis} yName="ppm" lines={attributed("shap")} height={220} />
          <Chart title="Integrated gradients of the mean correction in a band" {...axis} yName="ppm" lines={attributed("ig")} height={220} />
        </div>
      )}
      {Object.keys(relations).length > 0 && (
        <Chart title="Wavelength graph: share of each relation in the messages that reach a wavelength" {...axis} yName="share" lines={lines(relations)} height={220} />
      )}
      {edges.length > 0 && (
        <div className="wide">
          <table>
            <caption>Strongest edges, mean over layers; attention only for operators that have it</caption>
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
  if (planet.violated_rules == null) return null;
  const found = planet.violations ?? [];
  return (
    <section>
      <h2>Rules of physics</h2>
      <p>{planet.violated_rules.length ? `Violated: ${planet.violated_rules.join(", ")}.` : "None violated."}</p>
      {found.length > 0 && (
        <div className="wide">
          <table>
            <caption>{found.length > 100 ? `the first 100 of ${found.length} violations` : `${found.length} violations`}</caption>
            <thead>
              <tr>
                <th scope="col">Rule</th>
                <th scope="col" className="number">Wavelength, µm</th>
                <th scope="col" className="number">Deviation, ppm</th>
                <th scope="col" className="number">Deviation, sigmas</th>
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
              {(data.flags ?? []).length > 0 && <p>Flags of the transit fit: {(data.flags ?? []).join(", ")}</p>}
              <Spectrum key={planet} planet={data} axis={axis} />
              <Curves run={run} planet={planet} fits={data.fitted_curves ?? []} />
              <Explanation key={`explained ${planet}`} planet={data} axis={axis} />
              <Rules planet={data} />
              <Facts title="Molecules: share of the AIRS variance that only this one explains (rest: none does)" facts={data.molecule_shares ?? {}} />
              <Facts title="Star and orbit, from the catalogue" facts={data.star ?? {}} />
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

// A chart in plain SVG. Lines differ in colour and dash; arrow keys move a cursor whose values are read out; a legend entry hides its line.
import { type KeyboardEvent, type PointerEvent, useEffect, useId, useMemo, useRef, useState } from "react";
import { short } from "./format";

type Series = (number | null)[];
export type Line = { name: string; y: Series; upper?: Series; dots?: boolean; hidden?: boolean };
type Props = { title: string; x: Series; xName: string; yName: string; lines: Line[]; apart?: string; height?: number };

const LEFT = 64;
const RIGHT = 12;
const TOP = 10;
const BOTTOM = 38;

function ticks(low: number, high: number, wanted: number): number[] {
  const raw = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((f) => f * power).find((s) => s >= raw) ?? raw;
  const found: number[] = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + 1e-9 * step; n++) found.push(n * step);
  return found;
}

function range(values: Series): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) if (value !== null) [low, high] = [Math.min(low, value), Math.max(high, value)];
  if (!Number.isFinite(low)) return [0, 1];
  return low === high ? [low - 0.5 * (Math.abs(low) || 1), high + 0.5 * (Math.abs(high) || 1)] : [low, high];
}

function useWidth() {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(720);
  useEffect(() => {
    if (!box.current) return;
    const watch = new ResizeObserver(([entry]) => entry && setWidth(Math.max(280, Math.round(entry.contentRect.width))));
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  return [box, width] as const;
}

// apart: the name of the first point, which stands far from the others (FGS1) and is drawn near them, unconnected.
export function Chart({ title, x, xName, yName, lines, apart, height = 260 }: Props) {
  const [box, width] = useWidth();
  const [hidden, setHidden] = useState<Record<string, boolean>>(() => Object.fromEntries(lines.map((l) => [l.name, Boolean(l.hidden)])));
  const [at, setAt] = useState<number | null>(null);
  const id = useId();
  const shown = lines.filter((line) => !hidden[line.name]);
  const shift = lines[0]?.upper ? 0 : 1; // a band and the line after it share a colour

  const xs = useMemo(() => {
    const [low, high] = range(apart ? x.slice(1) : x);
    return apart ? [low - 0.05 * (high - low), ...x.slice(1)] : x;
  }, [x, apart]);
  const [x0, x1] = range(xs);
  const drawn = shown.flatMap((line) => [...line.y, ...(line.upper ?? [])]);
  const [rough0, rough1] = range(drawn);
  const margin = 0.05 * (rough1 - rough0);
  const [y0, y1] = [rough0 - margin, rough1 + margin];
  const px = (value: number) => LEFT + ((value - x0) / (x1 - x0)) * (width - LEFT - RIGHT - 8) + 4;
  const py = (value: number) => height - BOTTOM - ((value - y0) / (y1 - y0)) * (height - TOP - BOTTOM);
  const start = apart ? 1 : 0;

  const path = (y: Series, from = start): string => {
    let text = "";
    let down = false;
    for (let n = from; n < xs.length; n++) {
      const [a, b] = [xs[n], y[n]];
      if (a === null || a === undefined || b === null || b === undefined) down = false;
      else {
        text += `${down ? "L" : "M"}${px(a).toFixed(1)} ${py(b).toFixed(1)}`;
        down = true;
      }
    }
    return text;
  };
  const area = (lower: Series, upper: Series): string => {
    const there: string[] = [];
    const back: string[] = [];
    for (let n = start; n < xs.length; n++) {
      const [a, b, c] = [xs[n], lower[n], upper[n]];
      if (a == null || b == null || c == null) continue;
      there.push(`${px(a).toFixed(1)} ${py(b).toFixed(1)}`);
      back.push(`${px(a).toFixed(1)} ${py(c).toFixed(1)}`);
    }
    return there.length ? `M${there.join("L")}L${back.reverse().join("L")}Z` : "";
  };

  const move = (event: KeyboardEvent) => {
    const steps: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -1e9, End: 1e9 };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    setAt((before) => Math.min(Math.max((before ?? (step > 0 ? -1 : xs.length)) + step, 0), xs.length - 1));
  };
  const point = (event: PointerEvent<SVGSVGElement>) => {
    const place = event.clientX - event.currentTarget.getBoundingClientRect().left;
    let best = 0;
    xs.forEach((value, n) => {
      if (value !== null && Math.abs(px(value) - place) < Math.abs(px(xs[best] ?? x0) - place)) best = n;
    });
    setAt(best);
  };
  const readout =
    at === null
      ? ""
      : `${at === 0 && apart ? `${apart}, ` : ""}${xName} ${short(x[at])}: ${shown
          .map((l) => `${l.name} ${short(l.y[at])}${l.upper ? ` to ${short(l.upper[at])}` : ""}`)
          .join("; ")}`;
  const cursor = at === null ? null : (xs[at] ?? null);

  return (
    <figure className="chart" ref={box}>
      <figcaption id={id}>{title}</figcaption>
      <svg
        width={width}
        height={height}
        role="application"
        aria-roledescription="chart"
        aria-labelledby={id}
        tabIndex={0}
        onKeyDown={move}
        onPointerMove={point}
        onPointerLeave={() => setAt(null)}
      >
        {ticks(y0, y1, 5).map((value) => (
          <g key={value}>
            <line className="grid" x1={LEFT} x2={width - RIGHT} y1={py(value)} y2={py(value)} />
            <text className="tick" x={LEFT - 6} y={py(value) + 4} textAnchor="end">
              {short(value, 6)}
            </text>
          </g>
        ))}
        {ticks(apart ? (range(x.slice(1))[0] ?? x0) : x0, x1, width / 110).map((value) => (
          <text key={value} className="tick" x={px(value)} y={height - BOTTOM + 16} textAnchor="middle">
            {short(value)}
          </text>
        ))}
        {apart && (
          <text className="tick" x={px(x0)} y={height - BOTTOM + 30} textAnchor="middle">
            {apart}
          </text>
        )}
        <line className="axis" x1={LEFT} x2={width - RIGHT} y1={height - BOTTOM} y2={height - BOTTOM} />
        <text className="name" x={(LEFT + width) / 2} y={height - 6} textAnchor="middle">
          {xName}
        </text>
        <text className="name" transform={`translate(12 ${(height - BOTTOM) / 2}) rotate(-90)`} textAnchor="middle">
          {yName}
        </text>
        {lines.map((line, n) => {
          if (hidden[line.name]) return null;
          const colour = `c${(n + shift) % 8}`;
          const [first, top] = [line.y[0], line.upper?.[0]];
          return (
            <g key={line.name} className={colour}>
              {line.upper ? (
                <path className="band" d={area(line.y, line.upper)} />
              ) : line.dots ? (
                line.y.map((value, k) =>
                  value !== null && xs[k] != null ? <circle key={k} className="dot" cx={px(xs[k])} cy={py(value)} r={1.6} /> : null,
                )
              ) : (
                <path className="line" d={path(line.y)} />
              )}
              {apart && first != null && top != null && (
                <line className="bar" x1={px(x0)} x2={px(x0)} y1={py(first)} y2={py(top)} />
              )}
              {apart && first != null && !line.upper && <circle className="dot" cx={px(x0)} cy={py(first)} r={3.5} />}
            </g>
          );
        })}
        {cursor !== null && <line className="cursor" x1={px(cursor)} x2={px(cursor)} y1={TOP} y2={height - BOTTOM} />}
      </svg>
      <div className="legend">
        {lines.map((line, n) => (
          <button
            key={line.name}
            type="button"
            className={`c${(n + shift) % 8}`}
            aria-pressed={!hidden[line.name]}
            onClick={() => setHidden({ ...hidden, [line.name]: !hidden[line.name] })}
          >
            <svg width="26" height="10" aria-hidden="true">
              {line.upper ? <rect className="band" width="26" height="10" /> : <path className={line.dots ? "line solid" : "line"} d="M0 5L26 5" />}
            </svg>
            {line.name}
          </button>
        ))}
      </div>
      <p className="readout" aria-live="polite">
        {readout || "\u00a0"}
      </p>
    </figure>
  );
}

export function short(value: number | null | undefined, digits = 4): string {
  if (value === null || value === undefined) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return String(value);
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(digits - 2) : String(Number(value.toPrecision(digits)));
}

export function cell(value: unknown): string {
  if (value === null || value === undefined) return "–";
  return typeof value === "number" ? short(value) : String(value);
}

export function seconds(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  if (value < 120) return `${short(value, 3)} s`;
  return value < 7200 ? `${Math.round(value / 60)} min` : `${short(value / 3600, 3)} h`;
}

export function size(bytes: number | null | undefined): string {
  if (bytes === null || bytes === undefined) return "–";
  return bytes < 1e6 ? `${short(bytes / 1e3, 3)} kB` : `${short(bytes / 1e6, 3)} MB`;
}

export const when = (text: string | null | undefined): string => (text ? text.replace("T", " ").replace("+00:00", " UTC") : "–");

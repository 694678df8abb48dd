import { StrictMode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { Api, BoardPage, Boards, Dashboards, RunningPage } from "./others";
import { PlanetList, PlanetPage } from "./planets";
import { link, type Place, usePlace } from "./place";
import { Compare, RunPage, Runs } from "./runs";
import "./style.css";

const TABS = { runs: "Runs", boards: "Leaderboards", running: "Running", dashboards: "Dashboards", api: "API" };
// What a page is about. With another subject it starts anew, so that no data stand under a title that is not theirs.
const SUBJECT = ["run", "planet", "a", "b", "board"];
const TAB_OF: Record<string, string> = { run: "runs", planets: "runs", planet: "runs", compare: "runs", board: "boards" };

function Content({ place }: { place: Place }) {
  switch (place.page) {
    case "runs": return <Runs place={place} />;
    case "run": return <RunPage place={place} />;
    case "compare": return <Compare place={place} />;
    case "planets": return <PlanetList place={place} />;
    case "planet": return <PlanetPage place={place} />;
    case "boards": return <Boards />;
    case "board": return <BoardPage place={place} />;
    case "running": return <RunningPage />;
    case "dashboards": return <Dashboards place={place} />;
    case "api": return <Api />;
    default: return <p role="alert">No such page. <a href={link("runs")}>Runs</a></p>;
  }
}

function Theme() {
  const [theme, setTheme] = useState(() => window.localStorage.getItem("theme") ?? "auto");
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
    window.localStorage.setItem("theme", theme);
  }, [theme]);
  return (
    <label className="theme">
      Colours{" "}
      <select value={theme} onChange={(event) => setTheme(event.target.value)}>
        <option value="auto">as the system</option>
        <option value="light">light</option>
        <option value="dark">dark</option>
      </select>
    </label>
  );
}

function App() {
  const place = usePlace();
  const tab = TAB_OF[place.page] ?? place.page;
  return (
    <>
      <a className="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById("main")?.focus(); }}>
        Skip to the content
      </a>
      <header>
        <strong>SpectraMind</strong>
        <nav aria-label="Main">
          {Object.entries(TABS).map(([page, name]) => (
            <a key={page} href={link(page)} aria-current={page === tab ? "page" : undefined}>
              {name}
            </a>
          ))}
        </nav>
        <Theme />
      </header>
      <main id="main" tabIndex={-1}>
        <Content key={[place.page, ...SUBJECT.map((name) => place.query.get(name))].join(" ")} place={place} />
      </main>
    </>
  );
}

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <App />
  </StrictMode>,
);

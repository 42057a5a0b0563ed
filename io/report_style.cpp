#include "atrous/io/report_html.h"

namespace atrous::io {

// Colours are variables, so that dark mode is one list; sizes are in rem and follow the reader's font size.
// Correct is blue and wrong is orange: told apart by every kind of colour vision.
std::string_view report_style() {
  return R"css(
:root { color-scheme: light dark;
  --page: #f4f5f7; --card: #fff; --ink: #18202b; --muted: #5c6877; --line: #dfe3e8; --grid: #e9ecf0;
  --accent: #2563d4; --wrong: #d9600f; --on-strong: #fff; --track: #eef0f3;
  --edge: rgb(0 0 0 / 18%); --shadow: 0 1px 2px rgb(20 30 50 / 6%); }
@media (prefers-color-scheme: dark) { :root {
  --page: #0e1116; --card: #171b22; --ink: #e4e9f0; --muted: #93a0b1; --line: #2a313c; --grid: #262d37;
  --accent: #6ea6ff; --wrong: #ff9a56; --on-strong: #0c1320; --track: #222831;
  --edge: rgb(255 255 255 / 28%); --shadow: none; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); font: 0.9375rem/1.5 system-ui, -apple-system,
  "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif; font-variant-numeric: tabular-nums; }
main { max-width: 72rem; margin: 0 auto; padding: 2.5rem 1.5rem 3rem; }
h1, h2, h3, p, figure, ul, dl, dd { margin: 0; padding: 0; }
h1 { font-size: 1.75rem; line-height: 1.2; font-weight: 650; letter-spacing: -0.015em; overflow-wrap: anywhere; }
h2 { font-size: 1.0625rem; font-weight: 650; }
h3 { font-size: 0.9375rem; font-weight: 650; }
b { font-weight: 650; }
.muted, .note, .subtitle, figcaption p, footer, .empty { color: var(--muted); }
.subtitle { margin-top: 0.375rem; max-width: 48rem; }
.note { font-size: 0.8125rem; margin-top: 0.125rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 0.625rem; padding: 1.125rem 1.25rem;
  box-shadow: var(--shadow); min-width: 0; }
.swatch { display: inline-block; width: 0.75em; height: 0.75em; margin-right: 0.5em; border-radius: 0.1875em;
  box-shadow: inset 0 0 0 1px var(--edge); vertical-align: -0.02em; flex: none; }

.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: 0.75rem;
  margin-top: 1.5rem; }
.facts .card { padding: 0.75rem 1rem 0.8125rem; }
.facts dt { color: var(--muted); font-size: 0.8125rem; }
.facts dd { font-size: 1.25rem; line-height: 1.35; font-weight: 650; letter-spacing: -0.01em; overflow-wrap: anywhere; }
header ~ .card { margin-top: 0.75rem; }
.recipe { margin-top: 0.5rem; display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr));
  column-gap: 2.5rem; }
.recipe div { display: flex; justify-content: space-between; gap: 1rem; padding: 0.25rem 0;
  border-top: 1px solid var(--grid); font-size: 0.875rem; }
.recipe dt { color: var(--muted); white-space: nowrap; }
.recipe dd { text-align: right; overflow-wrap: anywhere; min-width: 0; }

.curves { display: grid; grid-template-columns: repeat(6, 1fr); gap: 0.75rem; margin-top: 0.75rem; }
.chart { grid-column: span 3; display: flex; flex-direction: column; }
.chart.main { grid-column: 1 / span 4; grid-row: 1 / span 2; }
.chart.side { grid-column: 5 / -1; }
figcaption p { font-size: 0.8125rem; }
figcaption b { color: var(--ink); }
.plot { height: 9rem; margin: 0.875rem 0.75rem 1.75rem 2.75rem; }
.main .plot { flex: 1 0 16rem; }
.plot > svg, .heat > svg { display: block; width: 100%; overflow: visible; }
.plot > svg { height: 100%; }
.curve, .heat svg { overflow: visible; }
svg text { fill: var(--muted); font-size: 0.75rem; }
.x, .number { text-anchor: middle; }
.y, .row { text-anchor: end; }
.grid { stroke: var(--grid); stroke-width: 1; shape-rendering: crispEdges; }
.line, .raw { fill: none; stroke: var(--accent); stroke-width: 2; stroke-linejoin: round; stroke-linecap: round;
  vector-effect: non-scaling-stroke; }
.raw { stroke-width: 1; opacity: 0.35; }
.plot circle { fill: var(--accent); stroke: var(--card); stroke-width: 1.5; }
.hit { fill: transparent; }
.hit:hover { fill: var(--accent); fill-opacity: 0.12; }
.empty { margin: auto; padding: 2rem 0; }

.pair { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 0.75rem; margin-top: 0.75rem; }
.stack { display: grid; gap: 0.75rem; margin-top: 0.75rem; }
.classes { width: 100%; border-collapse: collapse; margin-top: 0.5rem; font-size: 0.875rem; }
.classes th, .classes td { padding: 0.3125rem 0 0.3125rem 0.75rem; text-align: right; font-weight: 400;
  white-space: nowrap; }
.classes b { font-weight: 650; }
.classes th:first-child { text-align: left; padding-left: 0; }
.classes thead th { color: var(--muted); font-size: 0.8125rem; }
.classes tbody tr { border-top: 1px solid var(--grid); }
.classes tfoot tr { border-top: 1px solid var(--muted); }
.classes .track { width: 50%; min-width: 4rem; }
.track i { display: block; height: 0.625rem; border-radius: 0 0.1875rem 0.1875rem 0; background: var(--muted);
  box-shadow: inset 0 0 0 1px var(--edge); }
.track { background: linear-gradient(var(--track), var(--track)) right center / calc(100% - 0.75rem) 0.625rem
  no-repeat; }
tfoot .track i { box-shadow: none; }

.heat { margin-top: 0.75rem; }
.heat .ground { fill: var(--track); fill-opacity: 0.55; }
.heat .none { fill-opacity: 0; }
.heat rect { stroke: var(--card); stroke-width: 1; shape-rendering: crispEdges; }
.heat .swatch { stroke: var(--edge); }
.heat .right { fill: var(--accent); }
.heat .wrong { fill: var(--wrong); }
.heat .number { fill: var(--ink); }
.heat .strong { fill: var(--on-strong); font-weight: 650; }
.heat g:hover rect { stroke: var(--ink); }
.pair > :nth-child(3) { grid-column: 1 / -1; }
.mistakes { list-style: none; font-size: 0.875rem; margin-top: 0.5rem; display: grid; column-gap: 2.5rem;
  grid-template-columns: repeat(auto-fill, minmax(min(26rem, 100%), 1fr)); }
.mistakes li { display: flex; flex-wrap: wrap; justify-content: space-between; column-gap: 1rem; padding: 0.25rem 0;
  border-top: 1px solid var(--grid); }
.mistakes em { color: var(--muted); font-style: normal; margin: 0 0.25em; }
.mistakes .muted b { color: var(--ink); }

.examples { margin-top: 2rem; }
.legend { display: flex; flex-wrap: wrap; gap: 0.25rem 1.125rem; margin: 0.5rem 0 0.75rem; font-size: 0.875rem; }
.legend span { white-space: nowrap; }
.sample { margin-top: 0.75rem; padding: 0.875rem 1rem 0.75rem; }
.sample header { display: flex; flex-wrap: wrap; justify-content: space-between; column-gap: 1rem; }
.sample h3 { overflow-wrap: anywhere; }
.sample header span { font-size: 0.8125rem; }
.triple { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 0.75rem; margin-top: 0.5rem; }
.triple img { display: block; width: 100%; height: auto; border-radius: 0.25rem; background: var(--track); }
.triple figcaption { color: var(--muted); font-size: 0.8125rem; margin-top: 0.25rem; }
footer { margin-top: 2rem; font-size: 0.8125rem; }

@media (max-width: 60rem) {
  .pair { grid-template-columns: minmax(0, 1fr); }
  .chart.main { grid-column: 1 / -1; grid-row: auto; }
  .chart.side { grid-column: span 3; }
}
@media (max-width: 40rem) {
  main { padding: 1.5rem 0.875rem 2rem; }
  .card { padding: 0.875rem 0.875rem; }
  .facts { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 0.5rem; }
  .facts .card { padding: 0.5rem 0.75rem 0.5625rem; }
  .facts dd { font-size: 1.25rem; }
  .recipe { grid-template-columns: minmax(0, 1fr); }
  .chart, .chart.main, .chart.side { grid-column: 1 / -1; }
  .main .plot { flex-basis: 12rem; }
  .classes .wide { display: none; }
  .heat .number { font-size: 0.6875rem; }
  .dense .column { display: none; }
  .dense { padding-bottom: 1rem !important; }
  .sample { padding: 0.75rem; }
  .triple { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 0.5rem; }
  .triple figure:first-child { grid-column: 1 / -1; }
}
@media print {
  body { background: none; }
  .card { break-inside: avoid; box-shadow: none; }
  .hit { display: none; }
}
)css";
}

}  // namespace atrous::io

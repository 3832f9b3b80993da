//! The report as one page that needs nothing else: what was broken when, and what was served meanwhile.

use std::fmt::Write as _;

use super::report::{Outcomes, Report};

/// Width of the drawing.
const WIDTH: f64 = 1_000.0;
/// Where time begins in it, right of the names.
const LEFT: f64 = 130.0;
/// Height of one row of operations, and of one bar of a fault.
const ROW: f64 = 60.0;
const BAR: f64 = 11.0;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:1060px;margin:2rem auto;padding:0 1rem;\
color:#1c2430;background:#fff}h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2rem}table{border-collapse:collapse;\
width:100%}td,th{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #dde3ea;vertical-align:top}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}.pass{color:#0a6b3d}.fail{color:#b3261e}\
svg{width:100%;height:auto;background:#f7f9fb}text{font:11px system-ui,sans-serif;fill:#475467}\
.ok{fill:#2a9d6f}.bad{fill:#d64545}.fault{fill:#7b8fb2}.fault:hover{fill:#34518a}\
@media(prefers-color-scheme:dark){body{color:#e3e8ef;background:#12161c}td,th{border-color:#2b3440}\
svg{background:#1a2029}text{fill:#9aa7b8}.pass{color:#4cc38a}.fail{color:#ff7b72}}";

/// The whole page.
#[must_use]
pub fn page(report: &Report) -> String {
    let (class, verdict) =
        if report.passed() { ("pass", "nothing was broken") } else { ("fail", "something does not hold") };
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>Quorate under chaos, seed {seed}</title><style>{STYLE}</style>\
         <h1>Chaos, seed {seed}: <span class=\"{class}\">{verdict}</span></h1><p>{seconds} s of faults with orders \
         flowing; links were spoilt by {means}. The same seed gives the same schedule.</p>",
        seed = report.seed,
        seconds = report.seconds,
        means = escape(&report.means),
    );
    let checks = report.checks.iter().map(|check| {
        let (class, mark) = if check.violations.is_empty() { ("pass", "ok") } else { ("fail", "FAIL") };
        let wrong: String = check.violations.iter().take(50).map(|what| format!("<br>{}", escape(what))).collect();
        format!("<tr><td class=\"{class}\">{mark}<td>{}<td>{}{wrong}", check.what, escape(&check.found))
    });
    page.push_str(&table("What was checked", "<th><th>check<th>found", checks));
    page.push_str("<h2>What was served while what was broken</h2>");
    page.push_str(&drawing(report));
    let faults = report.by_kind().into_iter().map(|(name, kind)| {
        let by = if kind.by.is_empty() { String::new() } else { format!(" ({})", escape(&kind.by)) };
        let (count, shown, amount, of) = (kind.count, kind.shown, kind.amount, kind.of);
        format!("<tr><td>{name}<td class=n>{count}<td class=n>{shown}<td>{amount} {of}{by}")
    });
    let cannot = report
        .cannot
        .iter()
        .map(|(name, why)| format!("<tr><td>{name}<td class=n>0<td class=n>0<td>not possible here: {}", escape(why)));
    let head = "<th>fault<th class=n>begun<th class=n>shown<th>measured";
    page.push_str(&table("Faults", head, faults.chain(cannot)));
    let length = usize::try_from(report.seconds).unwrap_or(usize::MAX);
    let operations = report.operations.iter().map(|(name, of)| {
        let (served, gap) = (of.availability(length), of.longest_gap_ms());
        let (ok, failed, unknown) = (of.ok, of.failed, of.unknown);
        format!(
            "<tr><td>{name}<td class=n>{ok}<td class=n>{failed}<td class=n>{unknown}<td class=n>{served:.1} %\
             <td class=n>{gap} ms"
        )
    });
    let head = "<th>kind<th class=n>ok<th class=n>failed<th class=n>unknown<th class=n>seconds served\
                <th class=n>longest gap";
    page.push_str(&table("Operations", head, operations));
    let figures = report.gaps_ms.iter().map(|(what, gap)| format!("<tr><td>longest time without {what}<td>{gap} ms"));
    let counts = report.figures.iter().map(|(what, count)| format!("<tr><td>{what}<td>{count}"));
    page.push_str(&table("Figures", "<th>what<th>how much", figures.chain(counts)));
    let all = report.faults.iter().map(|fault| {
        let (from, until) = (seconds(fault.from_ms), seconds(fault.until_ms));
        let whom = escape(&fault.whom);
        format!(
            "<tr><td class=n>{from:.1}<td class=n>{until:.1}<td>{}<td>{whom}<td>{} {}",
            fault.kind, fault.amount, fault.of
        )
    });
    page.push_str(&table("Every fault", "<th class=n>from, s<th class=n>to, s<th>fault<th>whom<th>measured", all));
    page
}

fn table(title: &str, head: &str, rows: impl Iterator<Item = String>) -> String {
    format!("<h2>{title}</h2><table><tr>{head}{}</table>", rows.collect::<String>())
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds of a run")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

/// A row for each kind of operation, done above the line and not done below it; under them a bar for each fault.
fn drawing(report: &Report) -> String {
    let last = report.faults.iter().map(|fault| fault.until_ms).max().unwrap_or(0).max(report.seconds * 1_000);
    let scale = (WIDTH - LEFT - 20.0) / seconds(last).max(1.0);
    let x = |at: f64| LEFT + at * scale;
    let mut drawn = String::new();
    let mut y = 0.0;
    for (name, of) in &report.operations {
        draw_row(&mut drawn, name, of, y, scale);
        y += ROW;
    }
    let mut kinds: Vec<&str> = report.faults.iter().map(|fault| fault.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    y += 6.0;
    for kind in kinds {
        // Writing to a String cannot fail, here and below.
        let _ = write!(drawn, "<text x=\"2\" y=\"{:.1}\">{kind}</text>", y + BAR - 2.0);
        for fault in report.faults.iter().filter(|fault| fault.kind == kind) {
            let (from, until) = (seconds(fault.from_ms), seconds(fault.until_ms));
            let _ = write!(
                drawn,
                "<rect class=\"fault\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{}: {} {}\
                 </title></rect>",
                x(from),
                ((until - from) * scale).max(1.5),
                BAR - 2.0,
                escape(&fault.whom),
                fault.amount,
                fault.of
            );
        }
        y += BAR;
    }
    let mut at = 0;
    while at <= report.seconds {
        let _ = write!(drawn, "<text x=\"{:.1}\" y=\"{:.1}\">{at} s</text>", x(seconds(at * 1_000)), y + 14.0);
        at += (report.seconds / 10).max(1);
    }
    format!("<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\">{drawn}</svg>", y + 20.0)
}

fn draw_row(drawn: &mut String, name: &str, of: &Outcomes, y: f64, scale: f64) {
    let most = of.seconds.iter().map(|(ok, bad)| ok.max(bad)).max().copied().unwrap_or(1).max(1);
    let middle = y + ROW * 0.7;
    let _ = write!(
        drawn,
        "<text x=\"2\" y=\"{:.1}\">{name}</text><text x=\"2\" y=\"{middle:.1}\">at most {most}/s</text>",
        middle - 14.0
    );
    let height = |count: u32, room: f64| f64::from(count) / f64::from(most) * room;
    for (second, (ok, bad)) in (0_u32..).zip(&of.seconds) {
        let left = LEFT + f64::from(second) * scale;
        let wide = (scale - 0.3).max(0.4);
        let (up, down) = (height(*ok, ROW * 0.65), height(*bad, ROW * 0.25));
        if *ok > 0 {
            let top = middle - up;
            let _ = write!(
                drawn,
                "<rect class=\"ok\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"{up:.1}\"/>"
            );
        }
        if *bad > 0 {
            let _ = write!(
                drawn,
                "<rect class=\"bad\" x=\"{left:.1}\" y=\"{middle:.1}\" width=\"{wide:.1}\" height=\"{down:.1}\"/>"
            );
        }
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

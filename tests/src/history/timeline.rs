//! What is kept of a failure: the history, the log, the violations, and one page that shows them over time.
//!
//! The page needs nothing but itself: no script, no style and no picture from elsewhere. Whatever comes
//! from outside (names, problems, answers) is escaped.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs, io,
    path::Path,
};

use quorate_ledger::{Frame, Outcome};

use super::{
    Violation,
    calls::{Call, History},
    record::{self, Got, Op},
};

/// Calls that are drawn at most: those nearest to the violations. The history beside the page holds all.
pub const DRAWN_MAX: usize = 4_000;
/// Characters of a call's answer that are shown at most.
const SHOWN_MAX: usize = 2_000;
/// Characters of it that are shown to who points at a bar.
const HINT_MAX: usize = 240;
/// Left of the bars, in pixels.
const MARGIN: u64 = 150;
/// Height of a row of bars, in pixels.
const ROW: u64 = 16;
/// Least and greatest width of the bars' part, in pixels.
const WIDTHS: (u64, u64) = (1_200, 24_000);
/// Pixels that one call is given on average, where the width allows it.
const CALL_WIDTH: u64 = 12;

const STYLE: &str = "body{font:14px system-ui,sans-serif;margin:16px;color:#1d2330;background:#fff}\
pre{white-space:pre-wrap;word-break:break-word;margin:2px 0 8px;font-size:12px;color:#444}\
.scroll{overflow-x:auto;border:1px solid #ccd}\
.key span{display:inline-block;padding:1px 8px;margin-right:6px;border-radius:3px;color:#fff}\
rect.ok,.key .ok{fill:#3a7d44;background:#3a7d44}rect.refused,.key .refused{fill:#8a8f98;background:#8a8f98}\
rect.read,.key .read{fill:#3569b5;background:#3569b5}rect.unknown,.key .unknown{fill:#d98a00;background:#d98a00}\
rect.failed,.key .failed{fill:#c9ccd4;background:#9a9da4}rect.wrong{stroke:#d00000;stroke-width:3}\
rect.open{fill:#d98a00;fill-opacity:.35}rect.fault{fill:#d00000;fill-opacity:.12}.mark{fill:#d00000;font-weight:bold}\
text{font:11px system-ui,sans-serif}li{margin-bottom:10px}.what{color:#b00000;font-weight:600}";

/// Writes all there is to know of a failure into `dir`, which is made where it is missing: `history.jsonl`,
/// `frames.jsonl` (one frame of the log a line), `violations.txt` and `timeline.html`.
///
/// # Errors
/// Where a file cannot be written.
pub fn keep(dir: &Path, history: &History, frames: &[Frame], violations: &[Violation]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join("history.jsonl"), record::to_text(&history.lines())?)?;
    let mut lines = String::new();
    for frame in frames {
        lines.push_str(&serde_json::to_string(frame)?);
        lines.push('\n');
    }
    fs::write(dir.join("frames.jsonl"), lines)?;
    let told: String = violations.iter().map(|violation| format!("{violation}\n")).collect();
    fs::write(dir.join("violations.txt"), told)?;
    fs::write(dir.join("timeline.html"), page(history, violations))
}

/// The page: a bar for each call, by client and over time; faults as bands behind them; the calls of violations marked
/// with the number of the violation, and shown in full below.
#[must_use]
pub fn page(history: &History, violations: &[Violation]) -> String {
    let drawn = drawn(history, violations);
    let mut html =
        String::from("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Timeline</title><style>");
    html.push_str(STYLE);
    html.push_str("</style></head><body>\n<h1>Timeline</h1>\n<p>");
    let calls = history.calls.len();
    html.push_str(&format!(
        "{} violations; {} of {calls} calls are drawn; point at a bar to read it.",
        violations.len(),
        drawn.len()
    ));
    html.push_str("</p>\n<p class=\"key\"><span class=\"ok\">accepted</span><span class=\"refused\">refused</span>");
    html.push_str("<span class=\"read\">read</span><span class=\"unknown\">unknown, to the end</span>");
    html.push_str("<span class=\"failed\">not applied, or no answer to a read</span></p>\n<div class=\"scroll\">\n");
    html.push_str(&picture(history, violations, &drawn));
    html.push_str("</div>\n<h2>Violations</h2>\n<ol>\n");
    for (number, violation) in violations.iter().enumerate() {
        html.push_str(&format!("<li><span class=\"what\">{}</span>\n", escape(&violation.to_string())));
        for at in violation.calls.iter().filter(|at| **at < history.calls.len()) {
            let described = escape(&described(&history.calls[*at], SHOWN_MAX));
            let _ = writeln!(html, "<a href=\"#v{}-{at}\">show</a><pre>{described}</pre>", number + 1);
        }
        html.push_str("</li>\n");
    }
    html.push_str("</ol>\n<h2>Faults</h2>\n<ol>\n");
    for fault in &history.faults {
        let until = fault.until.map_or("the end".to_owned(), |until| format!("{} ms", ms(until)));
        html.push_str(&format!("<li>{} ms to {}: {}</li>\n", ms(fault.at), escape(&until), escape(&fault.what)));
    }
    html.push_str("</ol>\n</body></html>\n");
    html
}

/// Which calls are drawn, by the time of their invocation.
fn drawn(history: &History, violations: &[Violation]) -> Vec<usize> {
    let mut all: Vec<usize> = (0..history.calls.len()).collect();
    let marked: BTreeSet<usize> = violations.iter().flat_map(|violation| violation.calls.iter().copied()).collect();
    if all.len() > DRAWN_MAX {
        let distance = |at: &usize| {
            let (before, after) = (marked.range(..=at).next_back(), marked.range(at..).next());
            before.into_iter().chain(after).map(|near| near.abs_diff(*at)).min().unwrap_or(*at)
        };
        all.sort_by_key(distance);
        all.truncate(DRAWN_MAX);
        all.sort_unstable();
    }
    all
}

/// Where times are on the page.
struct Scale {
    from: u64,
    to: u64,
    width: u64,
}

impl Scale {
    fn x(&self, time: u64) -> u64 {
        let (span, past) =
            (u128::from((self.to - self.from).max(1)), u128::from(time.clamp(self.from, self.to) - self.from));
        MARGIN + u64::try_from(past * u128::from(self.width) / span).unwrap_or(self.width)
    }
}

fn picture(history: &History, violations: &[Violation], drawn: &[usize]) -> String {
    let calls: Vec<(usize, &Call)> = drawn.iter().map(|at| (*at, &history.calls[*at])).collect();
    let from = calls.iter().map(|(_, call)| call.invoked).min().unwrap_or(0);
    let to = calls.iter().map(|(_, call)| call.returned.unwrap_or(call.invoked)).max().unwrap_or(1);
    let width = (u64::try_from(calls.len()).unwrap_or(WIDTHS.1) * CALL_WIDTH).clamp(WIDTHS.0, WIDTHS.1);
    let scale = Scale { from, to: to.max(from + 1), width };
    let mut marks: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (number, violation) in violations.iter().enumerate() {
        violation.calls.iter().for_each(|call| marks.entry(*call).or_default().push(number + 1));
    }
    let (bars, rows) = bars(&calls, &marks, &scale);
    let height = (rows + 3) * ROW;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\">\n",
        MARGIN + width + MARGIN
    );
    for fault in history.faults.iter().filter(|fault| fault.at <= scale.to && fault.until.is_none_or(|end| end >= from))
    {
        let (left, right) = (scale.x(fault.at), scale.x(fault.until.unwrap_or(scale.to)));
        let what = escape(&fault.what);
        let _ = writeln!(
            svg,
            "<rect class=\"fault\" x=\"{left}\" y=\"0\" width=\"{}\" height=\"{height}\"><title>{what}</title></rect>\
             <text x=\"{left}\" y=\"{}\">{what}</text>",
            (right - left).max(2),
            height - 4
        );
    }
    for tick in 0..=20 {
        let time = scale.from + (scale.to - scale.from) / 20 * tick;
        let _ = writeln!(svg, "<text x=\"{}\" y=\"11\" fill=\"#667\">{} ms</text>", scale.x(time), ms(time));
    }
    svg.push_str(&bars);
    svg.push_str("</svg>\n");
    svg
}

/// The bars, a client below the other, those that overlap in rows of their own; and how many rows there are.
fn bars(calls: &[(usize, &Call)], marks: &BTreeMap<usize, Vec<usize>>, scale: &Scale) -> (String, u64) {
    let mut of_client: BTreeMap<&str, Vec<(usize, &Call)>> = BTreeMap::new();
    for (at, call) in calls {
        of_client.entry(&call.client).or_default().push((*at, call));
    }
    let (mut svg, mut first) = (String::new(), 1);
    for (client, calls) in of_client {
        let _ = writeln!(svg, "<text x=\"4\" y=\"{}\">{}</text>", (first + 1) * ROW - 4, escape(client));
        // The end of the last bar of each row.
        let mut rows: Vec<u64> = Vec::new();
        for (at, call) in calls {
            let (class, end) = match call.got.as_ref() {
                // Open to the end of the history, which a line below the bar shows; its caller waited so long.
                None | Some(Got::Unknown(_)) => ("unknown", call.returned.unwrap_or(call.invoked)),
                Some(Got::Response(response)) => match response.outcome {
                    Outcome::Accepted(_) => ("ok", call.returned.unwrap_or(scale.to)),
                    Outcome::Refused(_) => ("refused", call.returned.unwrap_or(scale.to)),
                },
                Some(Got::Read { .. } | Got::Unreadable { .. }) => ("read", call.returned.unwrap_or(scale.to)),
                Some(Got::NotApplied(_) | Got::ReadFailed(_)) => ("failed", call.returned.unwrap_or(scale.to)),
            };
            let (left, right) = (scale.x(call.invoked), scale.x(end));
            let row = rows.iter().position(|busy| *busy <= left).unwrap_or(rows.len());
            if row == rows.len() {
                rows.push(0);
            }
            rows[row] = right.max(left + 3);
            let y = (first + u64::try_from(row).unwrap_or(0)) * ROW + 3;
            let wrong = if marks.contains_key(&at) { " wrong" } else { "" };
            let (width, height, hint) = ((right - left).max(2), ROW - 4, escape(&described(call, HINT_MAX)));
            let _ = writeln!(
                svg,
                "<rect class=\"{class}{wrong}\" x=\"{left}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"><title>{hint}</title></rect>"
            );
            if class == "unknown" {
                let (y, width) = (y + height, scale.x(scale.to) - left);
                let _ = writeln!(svg, "<rect class=\"open\" x=\"{left}\" y=\"{y}\" width=\"{width}\" height=\"2\"/>");
            }
            for number in marks.get(&at).into_iter().flatten() {
                let _ = writeln!(
                    svg,
                    "<text class=\"mark\" id=\"v{number}-{at}\" x=\"{left}\" y=\"{}\">#{number}</text>",
                    y + 2
                );
            }
        }
        first += u64::try_from(rows.len()).unwrap_or(1).max(1) + 1;
    }
    (svg, first)
}

/// A call in words.
fn described(call: &Call, max: usize) -> String {
    let until = call.returned.map_or("never".to_owned(), |at| format!("{} ms", ms(at)));
    let op = match &call.op {
        Op::Command(command) => format!("{}: {command:?}", command.name()),
        Op::Settle { of, session, seq } => format!("settles call {of} (session {session}, seq {seq})"),
        Op::Read(path) => format!("GET {path}"),
    };
    let got = match &call.got {
        None => "nothing".to_owned(),
        Some(Got::Read { node, answer }) => format!("{node}: {answer}"),
        Some(got) => format!("{got:?}"),
    };
    let text = format!("{} call {}, {} ms to {until}\n{op}\n-> {got}", call.client, call.call, ms(call.invoked));
    let mut shown: String = text.chars().take(max).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// Nanoseconds as milliseconds with three digits after the point.
fn ms(ns: u64) -> String {
    format!("{}.{:03}", ns / 1_000_000, ns / 1_000 % 1_000)
}

/// Text as it may stand in an element or an attribute; what no document may hold is replaced.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(c),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}
